"""How the page looks: a theme of our own on Gradio's, and the style of the parts that we draw ourselves."""

from __future__ import annotations

import gradio as gr

from ui.texts import CSS as LANGUAGE_CSS

LEAF = gr.themes.Color(
    "#effaf3",
    "#d8f3e2",
    "#b3e6c8",
    "#80d1a6",
    "#4bb580",
    "#299a64",
    "#1b7c50",
    "#166341",
    "#144f36",
    "#11412d",
    "#08251a",
)
PETAL = gr.themes.Color(
    "#fff1f4",
    "#ffe3e9",
    "#ffc9d6",
    "#ff9fb5",
    "#fb6c8d",
    "#f03c67",
    "#d81f52",
    "#b41545",
    "#97143f",
    "#81153a",
    "#48061c",
)


def theme() -> gr.themes.Base:
    """Leaf green on warm greys. System fonts only: the page works without network."""
    return gr.themes.Base(
        primary_hue=LEAF,
        secondary_hue=PETAL,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_lg,
        font=[
            "system-ui",
            "-apple-system",
            "Segoe UI",
            "PingFang SC",
            "Microsoft YaHei",
            "Noto Sans CJK SC",
            "sans-serif",
        ],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_shadow="none",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_text_color="white",
        slider_color="*primary_600",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
    )


CSS = (
    LANGUAGE_CSS
    + """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; width: 100%; }
footer > .divider:first-child { display: none; } /* Gradio's, before the link to an API that we leave out */
.masthead { display: flex; gap: 16px; align-items: center; padding: 8px 2px 2px; }
.masthead svg { flex: none; width: 52px; height: 52px; color: var(--primary-600); }
.dark .masthead svg { color: var(--primary-400); }
.masthead h1 { font-size: 1.55rem; line-height: 1.2; margin: 0; font-weight: 700; }
.masthead p { margin: 4px 0 0; color: var(--body-text-color-subdued); line-height: 1.45; }
.card { background: var(--block-background-fill); border: 1px solid var(--block-border-color);
  border-radius: var(--radius-lg); padding: 16px 18px; overflow-wrap: anywhere; }
.card.empty { color: var(--body-text-color-subdued); min-height: 300px; display: grid; place-items: center;
  text-align: center; }
.card.refusal { border-color: var(--secondary-400); background: var(--secondary-50); color: var(--secondary-900); }
.dark .card.refusal { background: #2d0f18; color: var(--secondary-200); border-color: var(--secondary-700); }
.answer { font-size: 1.7rem; font-weight: 700; margin: 0; line-height: 1.25; }
.answer small { font-weight: 500; color: var(--body-text-color-subdued); font-size: 1.05rem; white-space: nowrap; }
.doubt { margin: 8px 0 0; padding: 8px 12px; border-left: 3px solid #d97706; background: #fef3c7; color: #713f12;
  border-radius: 0 8px 8px 0; }
.dark .doubt { background: #3a2a08; color: #fde68a; }
.bars { list-style: none; margin: 14px 0 0; padding: 0; display: grid; gap: 4px; }
.bars button { all: unset; box-sizing: border-box; cursor: pointer; display: grid; width: 100%; padding: 6px 8px;
  grid-template-columns: 1fr auto; gap: 3px 12px; border-radius: 8px; border: 1px solid transparent; }
.bars button:hover { background: var(--neutral-100); }
.dark .bars button:hover { background: var(--neutral-800); }
.bars button:focus-visible { outline: 2px solid var(--primary-500); outline-offset: 1px; }
.bars button[aria-pressed="true"] { border-color: var(--primary-500); background: var(--primary-50); }
.dark .bars button[aria-pressed="true"] { background: #0b2a1e; }
.bars .percent { font-variant-numeric: tabular-nums; }
.bars .track { grid-column: 1 / -1; }
.track { height: 8px; border-radius: 4px; background: var(--neutral-200); overflow: hidden; }
.dark .track { background: var(--neutral-700); }
.fill { display: block; height: 100%; border-radius: 4px; background: var(--primary-600); }
.dark .fill { background: var(--primary-400); }
.hint { color: var(--body-text-color-subdued); font-size: 0.875rem; margin: 10px 0 0; line-height: 1.5; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 14px; margin: 14px 0 0; }
.pictures figure { margin: 0; }
.pictures img { width: 100%; aspect-ratio: 1; border-radius: 10px; display: block; background: var(--neutral-200); }
.pictures figcaption { font-size: 0.875rem; color: var(--body-text-color-subdued); margin-top: 6px; line-height: 1.4;
  overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 0.9rem; color: var(--body-text-color-subdued);
  padding: 2px; min-height: 1.6em; }
.facts b { color: var(--body-text-color); font-weight: 600; }
.facts .note { flex-basis: 100%; color: #92400e; }
.dark .facts .note { color: #fcd34d; }
.facts .track { align-self: center; width: 220px; }
.html-container { padding: 0 !important; }
.listing .scroll { max-height: 620px; overflow: auto; border: 1px solid var(--block-border-color);
  border-radius: var(--radius-lg); background: var(--block-background-fill); }
.listing table { border-collapse: collapse; width: 100%; font-size: 0.925rem; }
.listing th { position: sticky; top: 0; background: var(--block-background-fill); text-align: left; padding: 10px;
  border-bottom: 1px solid var(--block-border-color); font-weight: 600; white-space: nowrap; z-index: 1; }
.listing th button { all: unset; cursor: pointer; }
.listing th button:focus-visible { outline: 2px solid var(--primary-500); outline-offset: 2px; }
.listing th button::after { content: " \\2195"; color: var(--body-text-color-subdued); }
.listing th[aria-sort="ascending"] button::after { content: " \\2191"; color: var(--primary-600); }
.listing th[aria-sort="descending"] button::after { content: " \\2193"; color: var(--primary-600); }
.listing td { padding: 6px 10px; border-bottom: 1px solid var(--block-border-color); vertical-align: middle; }
.listing tr { content-visibility: auto; contain-intrinsic-height: 69px; }
.listing td.photo { width: 76px; } .listing td img { border-radius: 6px; display: block; }
#table td { overflow-wrap: anywhere; }
.listing td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.listing td small { color: var(--body-text-color-subdued); white-space: nowrap; }
.listing td.note { color: var(--body-text-color-subdued); }
.listing tr[hidden] { display: none !important; }
.tools { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; margin: 0 0 8px; }
.tools .hint { margin: 0; } .listing .nothing { padding: 0 10px 10px; }
.tools input { padding: 7px 12px; border: 1px solid var(--input-border-color); border-radius: var(--radius-lg);
  background: var(--input-background-fill); color: var(--body-text-color); min-width: 230px; font: inherit;
  font-size: 0.925rem; }
.listing td.differs { background: var(--secondary-50); } .dark .listing td.differs { background: #2d0f18; }
.listing td.differs small, .listing td:first-child small { display: block; }
.listing td.differs small { color: var(--secondary-700); }
.dark .listing td.differs small { color: var(--secondary-200); }
.listing tr.frozen td { color: var(--body-text-color-subdued); }
#layers :is(th, td):first-child { position: sticky; left: 0; background: var(--block-background-fill); }
#layers th:first-child { z-index: 2; }
#layers .number { text-align: right; } #layers td { white-space: nowrap; } #layers th { padding: 8px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; margin: 4px 0 12px; }
.figures div { background: var(--block-background-fill); border: 1px solid var(--block-border-color);
  border-radius: var(--radius-lg); padding: 12px 16px; display: grid; gap: 2px; align-content: start; }
.figures b { font-size: 1.6rem; line-height: 1.2; } 
.figures div > span { font-size: 0.875rem; color: var(--body-text-color-subdued); line-height: 1.4; }
.costs { display: grid; gap: 10px; } .cost p { margin: 0 0 3px; font-size: 0.9rem; font-weight: 600; }
.cost small { color: var(--body-text-color-subdued); }
.split { display: flex; height: 14px; border-radius: 7px; overflow: hidden; background: var(--neutral-200); }
svg.blueprint { display: block; width: 100%; height: auto; } svg.blueprint.down { display: none; }
svg.blueprint text, svg.inside text { font-size: 11px; fill: var(--body-text-color); }
svg.inside text { font-size: 13px; }
.part { cursor: pointer; outline: none; } .part rect { stroke: transparent; stroke-width: 2; }
.part:hover rect, .part:focus-visible rect, .part.chosen rect { stroke: var(--body-text-color); }
.part.conv1 rect, .split .conv1, .part.head rect, .split .head { fill: #8a8a94; background: #8a8a94; }
.part.conv2_x rect, .split .conv2_x { fill: #3f9d74; background: #3f9d74; }
.part.conv3_x rect, .split .conv3_x { fill: #2f8fb0; background: #2f8fb0; }
.part.conv4_x rect, .split .conv4_x { fill: #6a76cf; background: #6a76cf; }
.part.conv5_x rect, .split .conv5_x { fill: #c25f8d; background: #c25f8d; }
.arc { fill: none; stroke: var(--body-text-color); stroke-width: 1.3; } .arc.projection { stroke-dasharray: 4 3; }
.key { display: inline-block; width: 26px; margin: 0 4px 0 8px; border-top: 2px solid currentColor;
  vertical-align: middle; }
.key.dashed { border-top-style: dashed; }
.key.faded { height: 14px; border: 0; border-radius: 4px; background: #3f9d74; opacity: 0.28; }
.part.frozen rect { fill-opacity: 0.28; }
.drawing h3 { margin: 4px 0; font-size: 1.05rem; font-weight: 650; }
.readout { margin: 6px 0 0; min-height: 1.5em; font-size: 0.9rem; line-height: 1.5; }
.readout > span { visibility: hidden; } .readout.filled > span { visibility: visible; }
.readout:not([data-shortcut="identity"]) .of-identity, .readout:not([data-shortcut="projection"]) .of-projection,
.readout:not([data-frozen="true"]) .of-frozen { display: none; }
.beside { margin-top: 4px; padding-top: 4px; border-top: 1px solid var(--block-border-color); }
.figures .beside b { font-size: 1rem; }
:is(#notice, #channels-notice):not(:has(.refusal)), #filters:not(:has(img)) { display: none; }
.heading h2 { font-size: 1.25rem; font-weight: 700; margin: 22px 0 2px; }
.calculator .verdict { margin: 0 0 10px; font-weight: 600; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 18px; }
.pair figure { margin: 0; } .pair h4 { margin: 0; font-size: 1rem; font-weight: 650; } .pair p { margin: 2px 0 6px; }
.pair .formula { font-variant-numeric: tabular-nums; } .pair svg { max-width: 440px; }
.inside-photo { display: grid; grid-template-columns: minmax(0, 4fr) minmax(0, 7fr); gap: 18px; align-items: start; }
.inside-photo svg { display: block; width: 100%; border-radius: 10px; }
.inside-photo .seen p { font-size: 0.875rem; line-height: 1.5; margin: 8px 0 0; font-variant-numeric: tabular-nums; }
.inside-photo rect { fill: none; vector-effect: non-scaling-stroke; stroke-width: 3; stroke: #fff;
  filter: drop-shadow(0 0 1.5px #000); }
.inside-photo rect.cell { stroke-width: 1.5; }
.inside-photo .hint { margin: 0 0 10px; }
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(92px, 1fr)); gap: 10px; }
.map { margin: 0; } .map button { all: unset; cursor: crosshair; position: relative; display: block; width: 100%;
  border-radius: 6px; overflow: hidden; }
.map button:focus-visible { outline: 2px solid var(--primary-500); outline-offset: 2px; }
.map img { display: block; width: 100%; aspect-ratio: 1; image-rendering: pixelated; }
.map i { position: absolute; top: var(--y); left: var(--x); width: max(var(--nx), 5px); height: max(var(--ny), 5px);
  box-sizing: border-box; border: 1.5px solid #fff; box-shadow: 0 0 0 1px #000; }
.map figcaption { font-size: 0.8rem; color: var(--body-text-color-subdued); margin-top: 4px; line-height: 1.3; }
.filters { display: grid; grid-template-columns: 150px 1fr; gap: 14px; align-items: center; padding: 12px; }
.filters img { width: 150px; image-rendering: pixelated; display: block; } .filters p { margin: 0; font-size: 0.875rem;
  line-height: 1.5; }
.card.empty.small { min-height: 90px; }
.dataset h3 { font-size: 1rem; font-weight: 650; margin: 16px 0 6px; }
.dataset .verdict { margin: 0 0 12px; line-height: 1.5; }
.dataset ul { list-style: none; margin: 0; padding: 0; display: grid; gap: 6px; }
.classes li { display: grid; grid-template-columns: minmax(90px, 1.1fr) auto minmax(60px, 1fr) auto; gap: 4px 14px;
  align-items: center; }
.classes .count { font-variant-numeric: tabular-nums; text-align: right; min-width: 3em; }
.thumbs { display: flex; gap: 4px; } .thumbs img { width: 44px; height: 44px; border-radius: 6px; display: block; }
.odd { display: flex; flex-wrap: wrap; gap: 10px 18px; } .odd figure { margin: 0; display: flex; gap: 10px;
  align-items: center; max-width: 340px; font-size: 0.9rem; } .odd img { width: 56px; border-radius: 6px; }
button.small { border: 1px solid var(--block-border-color); border-radius: 6px; padding: 2px 9px; font: inherit;
  font-size: 0.85rem; background: var(--button-secondary-background-fill); color: var(--body-text-color);
  cursor: pointer; margin-left: 4px; }
button.small:hover { border-color: var(--primary-500); }
.findings small { color: var(--body-text-color-subdued); }
.run h3, .report h3, #mistakes h3, #runs h3 { font-size: 1rem; font-weight: 650; margin: 14px 0 6px; }
.run h3:first-child { margin-top: 0; font-size: 1.05rem; } .run p { margin: 0 0 8px; line-height: 1.5; }
.report .doubt { margin: 0 0 12px; }
input[role="combobox"] { text-overflow: ellipsis; padding-right: 2.2rem !important; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 14px; margin: 12px 0 4px; }
.curves figure { margin: 0; } .curves figcaption { font-size: 0.875rem; color: var(--body-text-color-subdued); }
.curves svg { display: block; width: 100%; } .curves text { font-size: 12px; fill: var(--body-text-color-subdued); }
.curves .grid { stroke: var(--block-border-color); } .curves polyline { fill: none; stroke-width: 2; }
.curves polyline.train { stroke: #6a76cf; } .curves polyline.val { stroke: var(--primary-600); stroke-width: 1.5; }
.curves circle.val { fill: var(--primary-600); } .curves path.base { stroke: #d97706; stroke-dasharray: 5 4; }
.dark .curves polyline.val { stroke: var(--primary-400); } .dark .curves circle.val { fill: var(--primary-400); }
.key.base { border-top: 2px dashed #d97706; }
.report .listing td:first-child { min-width: 8em; }
.heat { border-collapse: separate; border-spacing: 3px; font-size: 0.9rem; }
.heat th { font-weight: 500; padding: 2px 8px; text-align: left; }
.heat th span { display: inline-block; max-width: 150px; overflow-wrap: break-word; } /* words stay whole */
.heat tbody th { position: sticky; left: 0; background: var(--block-background-fill); }
.heat td { padding: 0; } .heat button { all: unset; box-sizing: border-box; min-width: 54px; padding: 9px 6px;
  width: 100%; text-align: center; white-space: nowrap; border-radius: 6px; cursor: pointer;
  font-variant-numeric: tabular-nums; border: 2px solid transparent;
  background: color-mix(in srgb, var(--cell) var(--share), transparent); }
.heat td.right { --cell: #7cc9a3; } .heat td.wrong { --cell: #f59ab0; }
.dark .heat td.right { --cell: #1f6b48; } .dark .heat td.wrong { --cell: #8f2547; }
.heat button[disabled] { cursor: default; color: var(--body-text-color-subdued); }
.heat button[aria-expanded="true"], .heat button:focus-visible { border-color: var(--body-text-color); }
.report .scroll { overflow-x: auto; } .cell-images { margin: 10px 0; }
.cell-images img { display: inline-block; width: 64px; border-radius: 6px; margin: 0 4px 4px 0; }
.reliability { display: flex; gap: 4px; align-items: flex-end; height: 130px; max-width: 460px; padding-bottom: 18px;
  border-bottom: 1px solid var(--block-border-color); }
.bin { position: relative; flex: 1; height: 100%; } .bin i { position: absolute; bottom: 0; left: 0; right: 0;
  background: var(--primary-500); border-radius: 3px 3px 0 0; }
.bin em { position: absolute; left: -2px; right: -2px; height: 2px; background: var(--body-text-color); }
.bin small { position: absolute; bottom: -18px; left: -4px; right: -4px; white-space: nowrap;
  text-align: center; font-size: 0.75rem; }
.mistakes { list-style: none; margin: 10px 0 0; padding: 0; display: grid; gap: 18px;
  grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); }
.mistakes .pictures { grid-template-columns: 1fr 1fr; gap: 8px; margin: 0 0 6px; }
.mistakes p { margin: 0 0 6px; font-size: 0.9rem; line-height: 1.45; overflow-wrap: anywhere; }
.mistakes select { font: inherit; font-size: 0.85rem; padding: 2px 4px; border-radius: 6px; margin-left: 4px;
  background: var(--input-background-fill); color: var(--body-text-color);
  border: 1px solid var(--input-border-color); }
:is(#run-notice, #run, #run-report, #mistakes, #runs, #published):not(:has(*)) { display: none; }
.done p { margin: 0 0 8px; line-height: 1.5; } .done p.hint { margin: 8px 0 0; }
.done pre { margin: 0 0 6px; padding: 8px 12px; border-radius: 8px; background: var(--neutral-100); font-size: 0.875rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.dark .done pre { background: var(--neutral-800); }
#data-notice:not(:has(*)) { display: none; }
.opened { display: grid; grid-template-columns: 1fr minmax(260px, 420px); gap: 16px; align-items: start; }
.opened h3, .explanations h3 { margin: 0 0 6px; font-size: 1.05rem; font-weight: 650; }
.opened p, .explanations p { margin: 0 0 8px; line-height: 1.5; }
svg.inside rect { fill: var(--neutral-100); stroke: var(--neutral-300); }
svg.inside rect.conv { fill: var(--primary-100); }
.dark svg.inside rect { fill: var(--neutral-800); stroke: var(--neutral-600); }
.dark svg.inside rect.conv { fill: #14532d; }
svg.inside .flow, svg.inside .arc { stroke: var(--body-text-color); fill: none; stroke-width: 1.4; }
svg.inside .plus { fill: none; stroke: var(--body-text-color); }
svg.inside marker path { fill: var(--body-text-color); }
.explanations { display: grid; grid-template-columns: repeat(auto-fit, minmax(270px, 1fr)); gap: 12px;
  margin-top: 8px; }
.links a { margin-right: 12px; color: var(--link-text-color); text-decoration: underline; }
#v1 { min-width: min(320px, 100%) !important; } /* Gradio's own ignores what it was asked for */
.summary { margin: 4px 2px; }
@media (max-width: 1023px) { /* lying, the drawing's words would be too small to read */
  svg.blueprint.down { display: block; max-width: 330px; } svg.blueprint.across { display: none; }
  .readout { min-height: 3em; } /* as many lines as its facts may take */
}
@media (max-width: 640px) {
  .readout { min-height: 6em; }
  .masthead { gap: 12px; } .masthead svg { width: 40px; height: 40px; } .masthead h1 { font-size: 1.25rem; }
  .answer { font-size: 1.4rem; } .card { padding: 14px; }
  .classes li { grid-template-columns: 1fr auto; } .classes .thumbs { grid-column: 1 / -1; }
  .classes .track { grid-column: 1 / -1; }
  .heat th { padding: 2px 4px; } .heat tbody th span { max-width: 100px; } .heat button { min-width: 40px; }
  .heat thead span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 150px; }
  .opened, .inside-photo { grid-template-columns: minmax(0, 1fr); }
  .maps { grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 6px; }
  /* On a phone a row of the table becomes a card: the photo on the left, the cells beside it. */
  #table thead { display: none; }
  #table table, #table tbody { display: block; }
  #table tr { display: grid; grid-template-columns: 70px minmax(0, 1fr) auto; padding: 8px 10px;
    border-bottom: 1px solid var(--block-border-color); gap: 0 8px; }
  #table td { border: 0; padding: 1px 0; grid-column: 2 / -1; }
  #table td.photo { grid-column: 1; grid-row: 1 / span 5; width: auto; }
  #table td.file { font-size: 0.8rem; color: var(--body-text-color-subdued); }
  #table td:nth-child(3) { grid-column: 2; } #table td.number { grid-column: 3; }
}
@media (prefers-reduced-motion: no-preference) { .fill { transition: width 0.25s ease-out; } }
"""
)

#: A residual block: a path that transforms, a path around it, and their sum.
LOGO = (
    '<svg viewBox="0 0 48 48" fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round" '
    'aria-hidden="true"><path d="M24 3v8"/><rect x="14" y="11" width="20" height="8" rx="2.5"/><path d="M24 19v4"/>'
    '<rect x="14" y="23" width="20" height="8" rx="2.5"/><path d="M24 31v3"/><circle cx="24" cy="38" r="4"/>'
    '<path d="M24 42v3M24 6h13a5 5 0 0 1 5 5v22a5 5 0 0 1-5 5h-9"/></svg>'
)
