"""The page: one module a tab. Only here is gradio imported, app.py aside."""
