#!/bin/sh
# What the image runs: the server on TensorFlow Serving's ports, with the model that the variables name, or with the
# list of models that an argument names. Arguments are flags, and of a flag that comes twice the last one counts. `exec`
# makes the server the container's first process, which gets the signals.
settings=
for argument in "$@"; do
  case $argument in
    --model_config_file=?*) exec tensorflow_model_server --port=8500 --rest_api_port=8501 "$@" ;;
    --model_settings_file=*) settings=${argument#*=} ;;
  esac
done
# A slash at the end would be part of a URL's keys.
model=${MODEL_BASE_PATH%/}/${MODEL_NAME}
# A settings file may have models of its own: then nobody who left the variables alone wants another one, which is not there.
if [ "$model" = /models/model ] && ! [ -e "$model" ] && grep -qs base_path: "${settings#file://}"; then
  exec tensorflow_model_server --port=8500 --rest_api_port=8501 "$@"
fi
exec tensorflow_model_server --port=8500 --rest_api_port=8501 --model_name="${MODEL_NAME}" --model_base_path="$model" "$@"
