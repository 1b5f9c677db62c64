"""All objects in S3 whose keys begin alike."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

S3Client = Any  # boto3-stubs are there where types are checked, not where this runs


class S3Prefix:
    """What `s3://bucket/prefix` names, which need not be a folder."""

    def __init__(self, s3: S3Client, uri: str) -> None:
        parts = urlsplit(uri)
        self.uri = uri
        self.bucket = parts.netloc
        self.prefix = parts.path.lstrip("/")
        self.region: str = s3.meta.region_name
        self._s3 = s3

    def below(self, name: str) -> Self:
        """`name` in this folder."""
        return type(self)(self._s3, f"{self.uri.rstrip('/')}/{name}")

    def is_empty(self) -> bool:
        """Whether there is nothing. Raises ClientError where there is no such bucket."""
        return not self._s3.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)["KeyCount"]

    def download(self, folder: Path) -> None:
        """All objects, by what their keys have after the prefix; an object of just this key by its name."""
        for key in self._keys():
            file = folder / (key.removeprefix(self.prefix).lstrip("/") or Path(key).name)
            file.parent.mkdir(parents=True, exist_ok=True)
            self._s3.download_file(self.bucket, key, str(file))

    def upload(self, file: Path, *, key: str | None = None) -> None:
        """`file` to exactly this place, encrypted with the KMS key, if one is given."""
        encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}
        self._s3.upload_file(str(file), self.bucket, self.prefix, ExtraArgs=encryption)

    def put(self, content: bytes) -> None:
        """`content` to exactly this place."""
        self._s3.put_object(Bucket=self.bucket, Key=self.prefix, Body=content)

    def _keys(self) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        for page in pages:
            yield from (each["Key"] for each in page.get("Contents", []) if not each["Key"].endswith("/"))
