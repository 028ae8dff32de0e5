"""Apache ActiveMQ Artemis as the MQTT broker: its configuration and its command.

It was chosen because it keeps what it acknowledged: see ``docs/decisions``.
"""

from pathlib import Path
from xml.sax.saxutils import escape

from mliot.errors import SettingError
from mliot.fields import MAX_ORIGINAL
from mliot.settings import HOST, Settings
from stack import jars, java
from stack.ports import Listener

MAX_PACKET = MAX_ORIGINAL
"""Bytes of an MQTT packet that the broker takes: what the bridge refuses must fit a dead letter whole. A larger one ends its sender's
connection (MQTT 5, section 3.2.2.3.6), so nothing that was acknowledged is dropped."""

BROKER_XML = """<?xml version="1.0" encoding="UTF-8"?>
<configuration xmlns="urn:activemq">
  <core xmlns="urn:activemq:core">
    <name>mliot</name>
    <security-enabled>false</security-enabled>
    <!-- for the agent that says how many messages wait -->
    <jmx-management-enabled>true</jmx-management-enabled>
    <persistence-enabled>true</persistence-enabled>
    <journal-type>NIO</journal-type>
    <journal-directory>{data}/journal</journal-directory>
    <bindings-directory>{data}/bindings</bindings-directory>
    <large-messages-directory>{data}/large-messages</large-messages-directory>
    <paging-directory>{data}/paging</paging-directory>
    <journal-file-size>4M</journal-file-size>
    <journal-min-files>2</journal-min-files>
    <journal-pool-files>8</journal-pool-files>
    <global-max-size>64M</global-max-size>
    <!-- a share of the disk says little on a large one: publishers are held back when this much is left -->
    <min-disk-free>200M</min-disk-free>
    <critical-analyzer-policy>LOG</critical-analyzer-policy>
    <!-- MQTT's own wildcards; with the defaults a dot inside a topic level is lost -->
    <wildcard-addresses>
      <routing-enabled>true</routing-enabled>
      <delimiter>/</delimiter>
      <any-words>#</any-words>
      <single-word>+</single-word>
    </wildcard-addresses>
{cluster}    <acceptors>
      <acceptor name="mqtt">tcp://{host}:{port}?protocols=MQTT;maximumPacketSize={largest};tcpSendBufferSize=1048576;tcpReceiveBufferSize=1048576</acceptor>
{listener}    </acceptors>
    <addresses>
      <address name="mliot-dead-letters"><anycast><queue name="mliot-dead-letters"/></anycast></address>
      <address name="mliot-expired"><anycast><queue name="mliot-expired"/></anycast></address>
    </addresses>
    <address-settings>
      <address-setting match="#">
        <dead-letter-address>mliot-dead-letters</dead-letter-address>
        <expiry-address>mliot-expired</expiry-address>
        <!-- a subscriber that crashes again and again must still get its message -->
        <max-delivery-attempts>-1</max-delivery-attempts>
        <redelivery-delay>0</redelivery-delay>
        <max-size-bytes>16M</max-size-bytes>
        <page-size-bytes>2M</page-size-bytes>
        <address-full-policy>PAGE</address-full-policy>
        <redistribution-delay>0</redistribution-delay>
        <!-- each subscription is a queue, each device has one: with the default of 8192 a queue takes 33 KB before anything is in it -->
        <initial-queue-buffer-size>256</initial-queue-buffer-size>
        <auto-create-queues>true</auto-create-queues>
        <auto-create-addresses>true</auto-create-addresses>
      </address-setting>
    </address-settings>
  </core>
</configuration>
"""

CLUSTER_XML = """\
    <!-- looked at only where security is on; without one of its own the broker warns -->
    <cluster-user>mliot</cluster-user>
    <cluster-password>mliot</cluster-password>
    <connectors>
      <connector name="self">tcp://{host}:{port}</connector>
{connectors}
    </connectors>
    <cluster-connections>
      <cluster-connection name="mliot">
        <connector-ref>self</connector-ref>
        <retry-interval>500</retry-interval>
        <use-duplicate-detection>true</use-duplicate-detection>
        <message-load-balancing>ON_DEMAND</message-load-balancing>
        <max-hops>1</max-hops>
        <static-connectors>
{references}
        </static-connectors>
      </cluster-connection>
    </cluster-connections>
"""
"""A message goes to the broker whose subscribers have room; a shared subscription has one queue a broker, between which messages move."""
CLUSTER_LISTENER_XML = """\
      <acceptor name="cluster">tcp://{host}:{port}?protocols=CORE</acceptor>
"""

POLICY_XML = """<?xml version="1.0" encoding="UTF-8"?>
<restrict>
  <http><method>post</method></http>
  <commands/>
  <allow>
    <mbean><name>org.apache.activemq.artemis:*</name><attribute mode="read">MessageCount</attribute></mbean>
  </allow>
  <cors><allow-origin>http://127.0.0.1</allow-origin><strict-checking/></cors>
</restrict>
"""
"""Jolokia's policy: how many messages wait may be read, on loopback; nothing else may be read, and nothing done."""


def folder(settings: Settings) -> Path:
    return settings.home.absolute() / "artemis"


def broker_xml(settings: Settings) -> str:
    """The text of ``broker.xml``: persistent, paging instead of blocking, one MQTT listener on loopback, one more in a cluster."""
    return BROKER_XML.format(
        data=escape(str(folder(settings) / "data")),
        host=HOST,
        port=settings.mqtt_port,
        largest=MAX_PACKET,
        cluster=_cluster_xml(settings) if settings.mqtt_cluster else "",
        listener=CLUSTER_LISTENER_XML.format(host=HOST, port=settings.mqtt_cluster_port) if settings.mqtt_cluster else "",
    )


def _cluster_xml(settings: Settings) -> str:
    others = [address.strip() for address in settings.mqtt_cluster.split(",") if address.strip()]
    return CLUSTER_XML.format(
        host=HOST,
        port=settings.mqtt_cluster_port,
        connectors="\n".join(f'      <connector name="other-{n}">tcp://{escape(at)}</connector>' for n, at in enumerate(others)),
        references="\n".join(f"          <connector-ref>other-{n}</connector-ref>" for n, _ in enumerate(others)),
    )


def listeners(settings: Settings) -> tuple[Listener, ...]:
    """The broker's ports. Raises :class:`SettingError` where it is to be one of a cluster that cannot reach it."""
    if settings.mqtt_cluster and not settings.mqtt_cluster_port:
        raise SettingError("MLIOT_MQTT_CLUSTER names other brokers, which need MLIOT_MQTT_CLUSTER_PORT, a port of this one's (1 to 65535)")
    cluster = (Listener(settings.mqtt_cluster_port, "mqtt_cluster_port"),) if settings.mqtt_cluster else ()
    return (Listener(settings.mqtt_port, "mqtt_port"), Listener(settings.mqtt_metrics_port, "mqtt_metrics_port"), *cluster)


def command(settings: Settings) -> tuple[str, ...]:
    agent = jars.archive("artemis", "jolokia-agent-jvm")
    told = f"host={HOST},port={settings.mqtt_metrics_port},policyLocation={_policy(settings).as_uri()}"
    main = "org.apache.activemq.artemis.core.server.embedded.Main"
    return java.command(256, main, folder(settings), options=(f"-javaagent:{agent}={told}",))


def environment(_: Settings) -> dict[str, str]:
    return java.environment("artemis")


def prepare(settings: Settings) -> None:
    """Write the configuration where the broker and its agent look for it."""
    path = folder(settings) / "etc" / "broker.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(broker_xml(settings), "utf-8")
    _policy(settings).write_text(POLICY_XML, "utf-8")


def _policy(settings: Settings) -> Path:
    return folder(settings) / "etc" / "jolokia-access.xml"
