"""The job at work: in this process, on a session cluster, on Kubernetes; and what it wrote."""
