# A bucket for the history, which is copied there seconds after it is written (docs/object-storage.md), and the right of
# candled's pods to it, by Pod Identity. It lives longer than pods, volumes and zones, and Terraform does not destroy it
# while anything is in it.

resource "aws_s3_bucket" "history" {
  #checkov:skip=CKV_AWS_18: who reads and writes stands in CloudTrail, where data events are on
  #checkov:skip=CKV_AWS_144: a copy in another region is the account's choice
  #checkov:skip=CKV_AWS_145: a key of the cluster would take the history with it; S3 encrypts with its own
  #checkov:skip=CKV2_AWS_62: no event for each object
  count = var.history_bucket ? 1 : 0

  bucket_prefix = "${var.name}-history-"
  force_destroy = false
}

resource "aws_s3_bucket_versioning" "history" {
  count = var.history_bucket ? 1 : 0

  bucket = aws_s3_bucket.history[0].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "history" {
  count = var.history_bucket ? 1 : 0

  bucket = aws_s3_bucket.history[0].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "history" {
  count = var.history_bucket ? 1 : 0

  bucket                  = aws_s3_bucket.history[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "history" {
  count = var.history_bucket ? 1 : 0

  bucket = aws_s3_bucket.history[0].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

# candled deletes what it has superseded, and never changes an object: what goes here is versions of deleted ones.
resource "aws_s3_bucket_lifecycle_configuration" "history" {
  count = var.history_bucket ? 1 : 0

  bucket = aws_s3_bucket.history[0].id

  rule {
    id     = "deleted-objects"
    status = "Enabled"
    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.history_version_days
    }
    expiration {
      expired_object_delete_marker = true
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.history]
}

data "aws_iam_policy_document" "history_bucket" {
  count = var.history_bucket ? 1 : 0

  statement {
    sid       = "EncryptedConnectionsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.history[0].arn, "${aws_s3_bucket.history[0].arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "history" {
  count = var.history_bucket ? 1 : 0

  bucket = aws_s3_bucket.history[0].id
  policy = data.aws_iam_policy_document.history_bucket[0].json

  depends_on = [aws_s3_bucket_public_access_block.history]
}

locals {
  history_prefix = "candled"
}

# What candled asks of a store: list, get, put and delete below one prefix. It cannot delete versions, so that what it
# deletes, or an intruder with its role, can be restored for history_version_days.
data "aws_iam_policy_document" "history" {
  count = var.history_bucket ? 1 : 0

  statement {
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.history[0].arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = [local.history_prefix, "${local.history_prefix}/*"]
    }
  }

  statement {
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = ["${aws_s3_bucket.history[0].arn}/${local.history_prefix}/*"]
  }
}

resource "aws_iam_role" "history" {
  count = var.history_bucket ? 1 : 0

  name_prefix        = "${var.name}-history-"
  assume_role_policy = data.aws_iam_policy_document.assume["pod"].json
}

resource "aws_iam_role_policy" "history" {
  count = var.history_bucket ? 1 : 0

  name   = "keep-the-history"
  role   = aws_iam_role.history[0].id
  policy = data.aws_iam_policy_document.history[0].json
}

# The namespace and the service account are those of the chart as ../eks-service installs it.
resource "aws_eks_pod_identity_association" "history" {
  count = var.history_bucket ? 1 : 0

  cluster_name    = aws_eks_cluster.this.name
  namespace       = "candled"
  service_account = "candled"
  role_arn        = aws_iam_role.history[0].arn
}
