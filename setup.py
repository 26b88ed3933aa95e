"""What setuptools reads only here: the compiled parts. One build fits all versions of CPython."""

from setuptools import setup

setup(
    cffi_modules=["native/build.py:session_run", "native/build.py:number_lists"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
