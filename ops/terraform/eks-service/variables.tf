variable "cluster_state" {
  description = "Where the state of ../eks-cluster is, as its backend.hcl says: { bucket, key, region }."
  type        = object({ bucket = string, key = string, region = string })
}

variable "image" {
  description = "Image with its registry and without a version; empty takes the cluster's registry."
  type        = string
  default     = ""
  nullable    = false
}

variable "push_image" {
  description = "Build the image on the machine that applies this and push it to the cluster's registry (needs docker or podman, and the aws command). For a trial: otherwise a pipeline pushes it."
  type        = bool
  default     = false
}

variable "image_version" {
  description = "Version of candled to deploy: a tag, which is pushed once, or a digest as sha256:..."
  type        = string
  default     = "0.1.0"
}

variable "mode" {
  description = "single: a pod with a volume for each shard. cluster: ingesters and edges on a bus, of which any may die; the nodes must be three at least, and no snapshots are taken."
  type        = string
  default     = "single"
}

variable "edges" {
  description = "Mode cluster: fewest and most edges, and open streams of one at which another is started (0: by CPU alone)."
  type        = object({ min = optional(number, 2), max = optional(number, 10), streams = optional(number, 0) })
  default     = {}
}

variable "bus" {
  description = "Mode cluster: NATS servers that are there (urls and peers), or none, so that the chart runs its own; see the module."
  type        = object({ urls = optional(list(string), []), peers = optional(list(any), []), replicas = optional(number, 3), login = optional(bool, false), storage_size = optional(string, "10Gi") })
  default     = {}
}

variable "exchange" {
  description = "Exchange to read: binance or coinbase."
  type        = string
  default     = "binance"
}

variable "shards" {
  description = "Symbols of each pod, as the exchange writes them."
  type        = list(list(string))
  default     = [["BTCUSDT", "ETHUSDT", "PEPEUSDT"]]
}

variable "settings" {
  description = "Further settings of the daemon as CANDLED_* variables."
  type        = map(string)
  default     = {}
}

variable "history" {
  description = "Mode single: copy the history to the bucket of ../eks-cluster, and continue from there on an empty volume."
  type        = bool
  default     = true
}

variable "tls" {
  description = "Encrypt the gRPC port with the certificate of the Secret candled-tls, which must be in the namespace."
  type        = bool
  default     = false
}

variable "tokens" {
  description = "Ask clients for a bearer token of the Secret candled-tokens, which must be in the namespace."
  type        = bool
  default     = false
}

variable "monitoring" {
  description = "Deploy the PodMonitor, alert rules and Grafana dashboard too. The cluster must have the Prometheus operator, so say true after installing it."
  type        = bool
  default     = false
}

variable "monitoring_labels" {
  description = "Labels that the Prometheus operator asks of what it takes up, such as { release = \"kube-prometheus-stack\" }."
  type        = map(string)
  default     = {}
}

variable "storage_size" {
  description = "Size of each pod's volume. A changed one fails in the plan, which says what to do."
  type        = string
  default     = "20Gi"
}

variable "memory_limit" {
  description = "Memory limit of a pod; half of it is requested."
  type        = string
  default     = "1024Mi"
}


variable "backup_schedule" {
  description = "When snapshots of the volumes are taken, in cron's form and UTC; empty takes none."
  type        = string
  default     = "17 */6 * * *"
  nullable    = false

  validation {
    condition     = var.backup_schedule == "" || length(split(" ", var.backup_schedule)) == 5
    error_message = "A schedule has five parts, such as 17 */6 * * *."
  }
}

variable "backups_kept" {
  description = "Snapshots of each volume that are kept; older ones are deleted, in the account too."
  type        = number
  default     = 28

  validation {
    condition     = var.backups_kept >= 1 && floor(var.backups_kept) == var.backups_kept
    error_message = "Keep a whole number of snapshots, one at least."
  }
}

variable "more_values" {
  description = "Further values of the chart as YAML, over those that the variables make: `yamlencode({ ... })`. ops/helm/candled/README.md lists them."
  type        = list(string)
  default     = []
  nullable    = false
}
