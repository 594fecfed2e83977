"""How pages look: shell, tables, charts. With app.py and pages/, the only importer of Streamlit."""
