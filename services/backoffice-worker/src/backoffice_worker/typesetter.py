"""The process that sets one document: `python -m backoffice_worker.typesetter <template>`, JSON in, PDF out.

A process of its own for each document: typesetting is CPU work, holds hundreds of megabytes for a long table, and must
take nobody with it if it breaks. The limits are the kernel's. Exit 2 with a sentence on stderr: the data cannot be set.
"""

import json
import resource
import sys
from importlib.resources import as_file, files

import typst

REFUSED = 2
_MEMORY = 2 * 1024**3  # bytes of address space; the library alone maps 100 MB
_CPU_SECONDS = 30


def main() -> int:
    for limit, value in (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    data = sys.stdin.read()
    issued = json.loads(data)["issued_at"]
    try:
        with as_file(files("backoffice_worker") / "templates") as folder:
            compiler = typst.Compiler(
                str(folder / f"{sys.argv[1]}.typ"),
                root=str(folder),
                font_paths=typst.Fonts(include_system_fonts=False),
                sys_inputs={"data": data},
            )
            # The same data make the same bytes: the time is the document's, not the clock's.
            pdf = compiler.compile(format="pdf", timestamp=issued, pdf_tags=False)
            pages = json.loads(compiler.query("<pages>", field="value", one=True))
    except typst.TypstError as error:
        sys.stderr.write(error.message)
        return REFUSED
    assert isinstance(pdf, bytes)  # of one document without an output path
    sys.stdout.buffer.write(int(pages).to_bytes(4, "big"))
    sys.stdout.buffer.write(pdf)
    return 0


if __name__ == "__main__":
    sys.exit(main())
