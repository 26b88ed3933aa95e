#!/bin/sh
# What the image runs: the server on TensorFlow Serving's ports, with the model that the variables name, or with the
# list of models that an argument names. Arguments are flags, and of a flag that comes twice the last one counts. `exec`
# makes the server the container's first process, which gets the signals.
for argument in "$@"; do
  case $argument in
    --model_config_file=?*) exec tensorflow_model_server --port=8500 --rest_api_port=8501 "$@" ;;
  esac
done
exec tensorflow_model_server --port=8500 --rest_api_port=8501 \
  --model_name="${MODEL_NAME}" --model_base_path="${MODEL_BASE_PATH}/${MODEL_NAME}" "$@"
