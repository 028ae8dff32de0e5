"""Apache ActiveMQ Artemis as the MQTT broker: its configuration and its command.

It was chosen because it keeps what it acknowledged: see ``docs/decisions``.
"""

from collections.abc import Collection, Mapping
from hashlib import blake2b
from pathlib import Path
from xml.sax.saxutils import escape

from mliot.errors import SettingError
from mliot.fields import MAX_ORIGINAL
from mliot.mqttaddress import PLATFORM_USER, reserved_suffix
from mliot.settings import HOST, Settings
from stack import jars, java, secret
from stack.ports import Listener

MAX_PACKET = MAX_ORIGINAL
"""Bytes of an MQTT packet that the broker takes: what the bridge refuses must fit a dead letter whole. A larger one ends its sender's
connection (MQTT 5, section 3.2.2.3.6), so nothing that was acknowledged is dropped."""

BROKER_XML = """<?xml version="1.0" encoding="UTF-8"?>
<configuration xmlns="urn:activemq">
  <core xmlns="urn:activemq:core">
    <name>mliot</name>
    <security-enabled>true</security-enabled>
    <!-- this one may do anything, and by default its password is known to everyone -->
    <cluster-user>mliot-cluster</cluster-user>
    <cluster-password>{cluster_secret}</cluster-password>
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
      <acceptor name="mqtt">tcp://{host}:{port}?protocols=MQTT;{door}maximumPacketSize={largest};tcpSendBufferSize=1048576;tcpReceiveBufferSize=1048576</acceptor>
{listener}    </acceptors>
{access}    <addresses>
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

DOOR = "securityDomain=mliot;router=reserved;"
ACCESS_XML = """\
    <connection-routers>
      <!-- whoever names the client id of a session may end it and what waits in it: the platform's end in what only the platform knows -->
      <connection-router name="reserved">
        <key-type>CLIENT_ID</key-type>
        <local-target-filter>{client_ids}</local-target-filter>
      </connection-router>
    </connection-routers>
    <security-settings>
{permissions}    </security-settings>
"""
"""Who gets in, and what they may do there: devices without a password, and the platform's own parts with theirs."""
LOGIN_CONFIG = """\
mliot {
    org.apache.activemq.artemis.spi.core.security.jaas.PropertiesLoginModule sufficient
        org.apache.activemq.jaas.properties.user="users.properties" org.apache.activemq.jaas.properties.role="roles.properties";
    org.apache.activemq.artemis.spi.core.security.jaas.GuestLoginModule sufficient
        credentialsInvalidate=true org.apache.activemq.jaas.guest.user="device" org.apache.activemq.jaas.guest.role="devices";
};
"""
DEVICES, PLATFORM = "devices", "platform"
"""The roles: who came without a password, and the platform's own parts."""
CONTAINER_SECRET = "${ARTEMIS_PASSWORD}"  # noqa: S105 (the broker puts the variable in)
CONTAINER_ROLE = "amq"
"""The role of the user whom the broker's image makes."""
_QUEUES = ("createDurableQueue", "deleteDurableQueue", "createNonDurableQueue", "deleteNonDurableQueue")
DEVICE_MAY = ("send", "consume", "createAddress", *_QUEUES)
PLATFORM_MAY = (*DEVICE_MAY, "deleteAddress", "browse")
PERMISSIONS: Mapping[str, tuple[str, ...]] = {
    "#": DEVICE_MAY,
    "iot/+/command": tuple(right for right in DEVICE_MAY if right != "send"),
    **dict.fromkeys(("$sys.mqtt.sessions", "activemq.management", "activemq.notifications", "mliot-dead-letters", "mliot-expired"), ()),
}
"""What devices may do, by address; of those that match the most special one counts. The broker's own addresses are none of theirs."""

CLUSTER_XML = """\
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
AGENT_PROPERTIES = """\
host={host}
port={port}
policyLocation={policy}
user={user}
password={password}
"""
"""It answers the platform only: a pattern in a question has the names of all queues in its answer, and they hold the client ids' secret."""


def folder(settings: Settings) -> Path:
    return settings.home.absolute() / "artemis"


def broker_xml(settings: Settings, password: str) -> str:
    """The text of ``broker.xml``: persistent, paging instead of blocking, one MQTT listener on loopback, one more in a cluster.

    It holds ``password``, that of the platform: for the owner's eyes only.
    """
    return BROKER_XML.format(
        data=escape(str(folder(settings) / "data")),
        host=HOST,
        port=settings.mqtt_port,
        largest=MAX_PACKET,
        cluster_secret=_cluster_password(password),
        door=DOOR,
        access=ACCESS_XML.format(
            client_ids=f"(?s)(?!mliot-).*|mliot-.*-{reserved_suffix(password)}",
            permissions="".join(_permissions_xml(address, _roles(rights)) for address, rights in PERMISSIONS.items()),
        ),
        cluster=_cluster_xml(settings) if settings.mqtt_cluster else "",
        listener=CLUSTER_LISTENER_XML.format(host=HOST, port=settings.mqtt_cluster_port) if settings.mqtt_cluster else "",
    )


def container_xml() -> str:
    """The text of ``broker.xml`` for the broker of ``docker-compose.yml``, whose image makes the one user there is: no other gets in."""
    return BROKER_XML.format(
        data="/var/lib/artemis-instance/data",
        host=HOST,
        port=1883,
        largest=MAX_PACKET,
        cluster_secret=CONTAINER_SECRET,
        door="",
        access=f"    <security-settings>\n{_permissions_xml('#', dict.fromkeys(PLATFORM_MAY, CONTAINER_ROLE))}    </security-settings>\n",
        cluster="",
        listener="",
    )


def _permissions_xml(address: str, roles: Mapping[str, str]) -> str:
    lines = "".join(f'        <permission type="{right}" roles="{names}"/>\n' for right, names in roles.items())
    return f'      <security-setting match="{address}">\n{lines}      </security-setting>\n'


def _roles(devices_may: Collection[str]) -> dict[str, str]:
    return {right: f"{PLATFORM}, {DEVICES}" if right in devices_may else PLATFORM for right in PLATFORM_MAY}


def _cluster_password(password: str) -> str:
    return blake2b(password.encode(), digest_size=16, person=b"artemis cluster").hexdigest()


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
    if settings.mqtt_cluster and not settings.mqtt_password.get_secret_value():
        raise SettingError("MLIOT_MQTT_CLUSTER names other brokers, which trust this one by MLIOT_MQTT_PASSWORD, the same for all of them")
    cluster = (Listener(settings.mqtt_cluster_port, "mqtt_cluster_port"),) if settings.mqtt_cluster else ()
    return (Listener(settings.mqtt_port, "mqtt_port"), Listener(settings.mqtt_metrics_port, "mqtt_metrics_port"), *cluster)


def command(settings: Settings) -> tuple[str, ...]:
    agent = jars.archive("artemis", "jolokia-agent-jvm")
    options = (
        f"-javaagent:{agent}=config={_agent(settings)}",
        f"-Djava.security.auth.login.config={folder(settings) / 'etc' / 'login.config'}",
    )
    return java.command(256, "org.apache.activemq.artemis.core.server.embedded.Main", folder(settings), options=options)


def environment(_: Settings) -> dict[str, str]:
    return java.environment("artemis")


def prepare(settings: Settings) -> None:
    """Write the configuration where broker and agent look for it; it holds the platform's password, so its owner alone can read it."""
    password = make_password(settings)
    texts = {
        "broker.xml": broker_xml(settings, password),
        "login.config": LOGIN_CONFIG,
        "users.properties": f"{PLATFORM_USER} = {_property(password)}\n",
        "roles.properties": f"{PLATFORM} = {PLATFORM_USER}\n",
        _policy(settings).name: POLICY_XML,
        _agent(settings).name: AGENT_PROPERTIES.format(
            host=HOST, port=settings.mqtt_metrics_port, policy=_policy(settings).as_uri(), user=PLATFORM_USER, password=_property(password)
        ),
    }
    for name, text in texts.items():
        secret.write(folder(settings) / "etc" / name, text)


def make_password(settings: Settings) -> str:
    """The platform's password at the local broker; made up the first time, where the settings say none."""
    return settings.mqtt_password.get_secret_value() or secret.made_once(settings.mqtt_password_path)


def _property(text: str) -> str:
    """``text`` as a value of a Java properties file: ISO 8859-1 with escapes, also at its beginning."""
    return "".join(f"\\u{unit:04x}" for unit in memoryview(text.encode("utf-16-le")).cast("H"))


def _agent(settings: Settings) -> Path:
    return folder(settings) / "etc" / "jolokia.properties"


def _policy(settings: Settings) -> Path:
    return folder(settings) / "etc" / "jolokia-access.xml"
