terraform {
  # The S3 backend locks the state by itself from here on.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.69"
    }
  }

  # `terraform init -backend-config=backend.hcl` names the bucket (see backend.hcl.example).
  backend "s3" {}
}

provider "aws" {
  region = var.region

  default_tags {
    tags = merge({ Project = "candled", Cluster = var.name, ManagedBy = "terraform" }, var.tags)
  }
}
