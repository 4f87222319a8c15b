//! Kubernetes' cron grammar and firing times.
