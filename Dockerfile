# The image, with the edges of tensorflow/serving: ports, variables, entry point, names of programs. docs/image.md says
# how to run it, and what is in it.
#   docker build --tag ray-model-server .
#   docker build --tag ray-model-server:gpu --target gpu .
ARG PYTHON=3.11
ARG DEBIAN=bookworm

# What is installed. Here is a compiler for the compiled part; the image has none.
FROM python:${PYTHON}-${DEBIAN} AS environment
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore UV_NO_CACHE=1
RUN python -m venv --without-pip /opt/ray_model_server
COPY requirements-image.lock ./
# uv installs what uv locked: pip refuses some of it. It is among that itself.
RUN awk '/^[^ ]/ {is_uv = /^uv==/} is_uv' requirements-image.lock > uv.lock \
 && pip install --require-hashes --requirement uv.lock
RUN uv pip install --python /opt/ray_model_server --only-binary :all: --require-hashes --requirement requirements-image.lock
COPY LICENSE README.md pyproject.toml setup.py ./
COPY native/ native/
COPY core/ core/
COPY deployments/ deployments/
# The bytecode has no times of files in it, which some builders change: nobody can write it anew later, and without it
# each of ten processes would compile Ray.
RUN uv pip install --python /opt/ray_model_server --no-build-isolation --no-deps --no-index . \
 && test -e /opt/ray_model_server/lib/python*/site-packages/core/json/_number_lists.abi3.so \
 && test -e /opt/ray_model_server/lib/python*/site-packages/deployments/runtime/_session_run.abi3.so \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/ray_model_server/lib

FROM environment AS gpu-environment
COPY requirements-gpu.lock ./
RUN uv pip install --python /opt/ray_model_server --only-binary :all: --require-hashes --requirement requirements-gpu.lock \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/ray_model_server/lib

FROM python:${PYTHON}-slim-${DEBIAN} AS edges
LABEL org.opencontainers.image.title="Ray Model Server" \
      org.opencontainers.image.description="TensorFlow Serving's clients, config files and model directories, unchanged, on a Ray cluster" \
      org.opencontainers.image.licenses="Apache-2.0"
# Python's own modules come without bytecode.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
ENV PATH=/opt/ray_model_server/bin:$PATH
ENV MODEL_BASE_PATH=/models
ENV MODEL_NAME=model
EXPOSE 8500
EXPOSE 8501
# For models; like TensorFlow Serving's, the image starts in the root folder, as root unless told otherwise.
WORKDIR /models
WORKDIR /
COPY --chmod=755 configs/image/tf_serving_entrypoint.sh /usr/bin/
ENTRYPOINT ["/usr/bin/tf_serving_entrypoint.sh"]

# TensorFlow's libraries of CUDA; the driver is the host's, and NVIDIA's container toolkit brings it in.
FROM edges AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=gpu-environment /opt/ray_model_server /opt/ray_model_server
COPY --from=gpu-environment /opt/ray_model_server/bin/ray_model_server /opt/ray_model_server/bin/tensorflow_model_server /usr/bin/

FROM edges AS cpu
COPY --from=environment /opt/ray_model_server /opt/ray_model_server
COPY --from=environment /opt/ray_model_server/bin/ray_model_server /opt/ray_model_server/bin/tensorflow_model_server /usr/bin/
