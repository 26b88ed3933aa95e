"""A source: base paths inside of a zip file, such as `zip+file:///srv/models.zip/half_plus_two`."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping

from core.storage.checksums import StoredChecksums
from core.storage.version_listing import FileEntry

SCHEME = "zip+file://"


class ZipSource:
    """Lists and reads the files of zip files of this node; opens one for each request, as it may be replaced."""

    def list_files(self, url: str) -> Mapping[str, FileEntry]:
        archive, folder = _split(url)
        with zipfile.ZipFile(archive) as opened:
            inside = [one for one in opened.infolist() if one.filename.startswith(folder) and not one.is_dir()]
        if not inside:
            raise FileNotFoundError(url)
        paths = {one.filename.removeprefix(folder): one for one in inside}
        return {path: FileEntry(path, one.file_size, etag=f"{one.CRC:08x}") for path, one in paths.items()}

    def read(self, url: str, path: str, start: int, end: int) -> bytes:
        archive, folder = _split(url)
        with zipfile.ZipFile(archive) as opened, opened.open(f"{folder}{path}") as file:
            file.seek(start)
            return file.read(end - start)

    def checksums(self, url: str, path: str) -> StoredChecksums:
        archive, folder = _split(url)
        with zipfile.ZipFile(archive) as opened:
            return StoredChecksums({"crc32": f"{opened.getinfo(f'{folder}{path}').CRC:08x}"})


def _split(url: str) -> tuple[str, str]:
    """Return the zip file of a URL, and the folder inside of it with a slash at its end."""
    archive, ending, folder = url.removeprefix(SCHEME).partition(".zip")
    if not ending:
        raise FileNotFoundError(f"{url} names no file that ends in .zip")
    folder = folder.strip("/")
    return archive + ending, f"{folder}/" if folder else ""
