"""/services, one file for what is done with them; app.py registers each."""
