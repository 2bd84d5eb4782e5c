variable "cluster_name" {
  description = "Name of the kind cluster."
  type        = string
  default     = "candled"

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{0,40}$", var.cluster_name))
    error_message = "A cluster's name has small letters, digits and hyphens."
  }
}

variable "image_version" {
  description = "Version of the image candled that `make image` built; it is loaded into the cluster."
  type        = string
  default     = "0.1.0"
}

variable "load_image" {
  description = "Load the image into the cluster with the kind command; false if it is there already."
  type        = bool
  default     = true
}

variable "embedded_exchange" {
  description = "Read from candled's own exchange, which needs no network; false reads from the real one."
  type        = bool
  default     = true
}

variable "shards" {
  description = "Symbols of each pod."
  type        = list(list(string))
  default     = [["BTCUSDT", "ETHUSDT", "PEPEUSDT"]]
}

variable "storage_size" {
  description = "Size of each pod's volume."
  type        = string
  default     = "1Gi"
}
