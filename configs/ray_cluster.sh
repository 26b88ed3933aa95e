# What Ray needs on a cluster of several hosts that is to outlive one of them. Read before `ray start`, on every host:
#
#   . configs/ray_cluster.sh && ray start ...
#
# docs/operations.md says what happens when a host fails.

# Only who has the cluster's token may talk to Ray.
export RAY_AUTH_MODE=token

# Workers import ahead, so that the next version need not wait for a process that does. The package must be on every host.
export RAY_preload_python_modules=deployments.workers.preload

# The head asks every host for a sign of life. One that is silent for six to eight seconds counts as dead, not after a minute:
# its versions are loaded elsewhere. Shorter times would count hosts as dead that are only busy.
export RAY_health_check_initial_delay_ms=3000
export RAY_health_check_period_ms=500
export RAY_health_check_timeout_ms=1500
export RAY_health_check_failure_threshold=3

# A host that was cut off asks so often whether it counts as dead; if so, Ray there ends, and is to be started again.
export RAY_raylet_liveness_self_check_interval_ms=2000

# Hosts wait so long for a head that is away, instead of a minute, before Ray there ends and all versions with it. The
# process of `ray_model_server --ray_address` sets it for itself.
export RAY_gcs_rpc_server_reconnect_timeout_s=600

# The head keeps the state of the cluster on its disk. Ray calls this an alpha; the other way is RAY_REDIS_ADDRESS.
# To begin anew, also with another release of Ray or of this server, end Ray on all hosts and remove this folder on the
# head: `ray start --head` would bring back the Serve controller that was there, with its applications.
export RAY_gcs_storage=rocksdb
export RAY_gcs_storage_path="${RAY_gcs_storage_path:-$HOME/.ray/control_store}"
mkdir -p "$RAY_gcs_storage_path"
