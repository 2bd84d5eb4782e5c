terraform {
  # The S3 backend locks the state by itself from here on.
  required_version = ">= 1.11"

  required_providers {
    helm = {
      source  = "hashicorp/helm"
      version = "~> 3.3"
    }
    kubernetes = {
      source  = "hashicorp/kubernetes"
      version = "~> 3.4"
    }
  }

  # `terraform init -backend-config=backend.hcl` names the bucket (see backend.hcl.example).
  backend "s3" {}
}

locals {
  # A token of its own for each call: it lives for a quarter of an hour only.
  get_token = {
    api_version = "client.authentication.k8s.io/v1beta1"
    command     = "aws"
    args        = ["eks", "get-token", "--cluster-name", local.cluster.cluster_name, "--region", local.cluster.region]
  }
  cluster_ca = base64decode(local.cluster.certificate_authority)
}

provider "kubernetes" {
  host                   = local.cluster.endpoint
  cluster_ca_certificate = local.cluster_ca

  exec {
    api_version = local.get_token.api_version
    command     = local.get_token.command
    args        = local.get_token.args
  }
}

provider "helm" {
  kubernetes = {
    host                   = local.cluster.endpoint
    cluster_ca_certificate = local.cluster_ca
    exec                   = local.get_token
  }
}
