"""Apache Kafka: finding it, nodes and clusters of our own, certificates, users and rights.

home       where its jars are, and Java
runtime    what is made once for each Kafka and Java: a class data archive and a formatted log folder
security   certificates, and how a listener is reached
node       one node: start, stop, kill, pause, resume, copy and restore its log folder
cluster    one node or three, with the proxies before them
admin      topics, users, rights and quotas
reachable  whether a broker that somebody names answers
command    `vigie-kafka`
"""

from .admin import KafkaAdmin
from .cluster import KafkaCluster
from .home import KafkaHome, KafkaMissing
from .node import KafkaNode
from .security import Certificate, CertificateAuthority, Security

__all__ = [
    "Certificate",
    "CertificateAuthority",
    "KafkaAdmin",
    "KafkaCluster",
    "KafkaHome",
    "KafkaMissing",
    "KafkaNode",
    "Security",
]
