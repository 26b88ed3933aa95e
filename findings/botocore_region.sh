#!/usr/bin/env bash
# Versions: botocore 1.43.117.
# Behaviour: the region is read from AWS_DEFAULT_REGION alone. AWS_REGION, which other SDKs of AWS read, is ignored without
#   a word.
# Output seen:
#   AWS_REGION=eu-west-3: None
#   AWS_DEFAULT_REGION=eu-west-3: eu-west-3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet botocore==1.43.117
unset AWS_REGION AWS_DEFAULT_REGION AWS_PROFILE AWS_DEFAULT_PROFILE
export AWS_CONFIG_FILE="$folder/config" # not there: only the environment counts

# Prints the region that a new session has.
region() {
  "$folder/venv/bin/python" -c 'import botocore.session; print(botocore.session.get_session().get_config_variable("region"))'
}

ignored=$(AWS_REGION=eu-west-3 region)
read_instead=$(AWS_DEFAULT_REGION=eu-west-3 region)
echo "AWS_REGION=eu-west-3: $ignored"
echo "AWS_DEFAULT_REGION=eu-west-3: $read_instead"
[ "$ignored" = None ] && [ "$read_instead" = eu-west-3 ]
