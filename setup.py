"""What setuptools reads only here: the compiled part. One build fits all versions of CPython."""

from setuptools import setup

setup(cffi_modules=["native/build.py:ffibuilder"], options={"bdist_wheel": {"py_limited_api": "cp311"}})
