#!/usr/bin/env bash
# A Ray cluster inside a Slurm job: Ray's head on the job's first node, a worker on each other one, one command of
# side4video on the whole, and everything ended with it.
#
#   ray get-auth-token --generate        once: the token, in your home, which all nodes share
#   export MLFLOW_TRACKING_URI=http://LOGIN-NODE:5000        `make services ARGS="--host 0.0.0.0"` starts one there
#   sbatch --nodes 4 clusters/slurm.sh run experiments/ssv2/vitb16-8f.yaml \
#     --set cluster.workers=4 --set cluster.gpus_per_worker=1 --set cluster.storage=$HOME/runs
#
# From the root of this repository, which all nodes see, with its .venv made.
#SBATCH --job-name=side4video
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --exclusive
#SBATCH --output=side4video-%j.log
#SBATCH --signal=B:TERM@120
set -euo pipefail

: "${SLURM_JOB_ID:?run it with sbatch}"
: "${MLFLOW_TRACKING_URI:?export MLFLOW_TRACKING_URI=http://HOST:5000, a server that all nodes reach}"
if [ $# -eq 0 ]; then
  echo "slurm.sh: say what to run, such as: sbatch slurm.sh run SPEC" >&2
  exit 2
fi
export PATH="${SLURM_SUBMIT_DIR:-.}/.venv/bin:$PATH"
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0

# Ports of this job alone: several jobs of one user may share a node.
first=$((20000 + SLURM_JOB_ID % 4000 * 10))
port=$first
dashboard_port=$((first + 1))
client_port=$((first + 2))
cpus=${SLURM_CPUS_PER_TASK:-1}

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address | awk '{ print $1 }')

steps=()
end() { [ ${#steps[@]} -eq 0 ] || kill "${steps[@]}" 2>/dev/null || true; wait || true; }
trap end EXIT

echo "Ray's head: $head, $address:$port; its dashboard: 127.0.0.1:$dashboard_port there"
srun --nodes=1 --ntasks=1 --cpus-per-task="$cpus" --overlap -w "$head" \
  ray start --head --node-ip-address="$address" --port="$port" --dashboard-host=127.0.0.1 \
  --dashboard-port="$dashboard_port" --ray-client-server-port="$client_port" --num-cpus="$cpus" --block &
steps+=($!)
for node in "${nodes[@]:1}"; do
  srun --nodes=1 --ntasks=1 --cpus-per-task="$cpus" --overlap -w "$node" \
    ray start --address="$address:$port" --num-cpus="$cpus" --block &
  steps+=($!)
done

# All nodes are there before the work begins: it is refused on a cluster that cannot hold it.
export RAY_ADDRESS="$address:$port"
for _ in $(seq 60); do
  found=$(python -c 'import ray; ray.init(logging_level="ERROR"); print(sum(n["Alive"] for n in ray.nodes()))' || echo 0)
  [ "$found" -ge ${#nodes[@]} ] && break
  sleep 5
done
if [ "$found" -lt ${#nodes[@]} ]; then
  echo "slurm.sh: only $found of ${#nodes[@]} nodes came up" >&2
  exit 1
fi

# In the background, so that the signal before the time is over reaches this script at once: the run saves after its
# step and ends, and the same command with --go-on, or the same sweep, goes on in another job.
command=$1
shift
side4video "$command" "$@" --address "$address:$port" &
work=$!
trap 'kill -TERM "$work"; wait "$work"; exit 143' TERM
wait "$work"
