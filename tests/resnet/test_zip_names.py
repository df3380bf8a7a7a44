"""Names in zips that don't say in which code they are."""

from __future__ import annotations

import random

import pytest

from resnet.zip_names import best_code

WORDS = {
    "gb18030": "玫瑰 郁金香 蒲公英 雏菊 向日葵 蚂蚁 蜜蜂 猫 狗 苹果 香蕉 训练集 测试集 新建文件夹 图片 数据 花卉 "
    "叶子 病害 健康 玉米 小麦 水稻 汽车 飞机 轮船 卡车 鸟 鹿 青蛙 塑料 金属 玻璃 纸张 垃圾 正常 缺陷 "
    "划痕 裂纹 不合格 翀菊 喆",
    "big5": "玫瑰 鬱金香 蒲公英 雛菊 向日葵 螞蟻 蜜蜂 貓 狗 蘋果 香蕉 訓練集 測試集 新資料夾 圖片 資料 葉子 病害 "
    "健康 玉米 小麥 水稻 汽車 飛機 輪船 卡車 鳥 鹿 青蛙 馬 塑膠 金屬 玻璃 紙張 垃圾 正常 缺陷 刮痕 裂紋 "
    "功能",
    "cp949": "개미 꿀벌 장미 튤립 민들레 데이지 해바라기 고양이 강아지 사과 바나나 훈련 검증 새폴더 사진 데이터 "
    "꽃 잎 정상 불량 옥수수 벼 자동차 비행기 트럭 사슴 개구리 플라스틱 금속 유리 종이 쓰레기",
    "cp932": "薔薇 チューリップ たんぽぽ ひまわり 蟻 蜜蜂 猫 犬 りんご バナナ 学習 検証 新しいフォルダー 写真 "
    "データ 葉 正常 不良 トウモロコシ 小麦 稲 自動車 飛行機 トラック 鳥 鹿 蛙 表示 能力 ソート",
    "cp866": "роза тюльпан одуванчик ромашка подсолнух муравей пчела кошка собака яблоко банан обучение проверка фото",
    "cp850": "Gänseblümchen Löwenzahn Äpfel Käfer Größe naïve façade été español niño Blüten grün",
}


@pytest.mark.parametrize("code", WORDS)
def test_the_code_of_an_archive_is_told_by_its_names(code: str) -> None:
    rng, right, tries = random.Random(5), 0, 60
    for _ in range(tries):
        raw = [f"{word}/{number}.jpg".encode(code) for word in rng.sample(WORDS[code].split(), 5) for number in (1, 2)]
        found, _ = best_code(raw)
        right += all(name.decode(found, "replace") == name.decode(code) for name in raw)
    assert right >= 0.95 * tries


def test_a_language_decides_between_readings_that_are_as_likely() -> None:
    """A Korean name whose bytes are those of common Chinese characters as well."""
    raw = ["훈련.jpg".encode("cp949")]
    assert best_code(raw)[1]
    assert best_code(raw, "ko") == ("cp949", False)
    assert best_code(raw, "zh-CN")[0] == "gb18030"


def test_what_is_in_no_code_is_read_as_the_standard_says() -> None:
    assert best_code([b"\xc4 \xff"]) == ("cp437", False)
    assert best_code(["蚂蚁".encode()]) == ("utf-8", False)
