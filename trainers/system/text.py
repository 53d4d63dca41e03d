"""Text that may hold any bytes, made fit to print."""


def printable(file: str) -> str:
    """Replace what a terminal cannot print, as in the name of a file that is not in UTF-8."""
    return file.encode("utf-8", "backslashreplace").decode()
