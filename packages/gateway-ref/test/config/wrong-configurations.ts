/** A configuration without a mistake, one section a line. */
export const rightConfiguration = `listen: { address: 0.0.0.0, port: 443 }
tls: { certificate: site.crt, key: site.key }
pool: { ipv4: 192.168.77.0/24, ipv6: fd77:77::/64 }
dns: { servers: [10.2.0.2], searchDomains: [corp.example], splitDomains: [] }
routes: { include: [10.2.0.0/24], exclude: [] }
egress: { mode: translate }
auth: { clientCa: ca.crt }
session: { maxSeconds: 3600, idleSeconds: 0, dpdSeconds: 30, cookieSeconds: 300 }
datagram: { enabled: true }
`

/** A mistake: what is replaced by what, and the lines that tell it. `DIR` is the folder of the file. */
export type WrongConfiguration = readonly [right: string, wrong: string, ...messages: string[]]

export const wrongConfigurations: readonly WrongConfiguration[] = [
  [
    '192.168.77.0/24',
    '192.168.77.0/33',
    `gateway.yaml:3: pool.ipv4: '192.168.77.0/33' is not an IPv4 prefix; write e.g. 192.168.77.0/24`,
  ],
  [
    '192.168.77.0/24',
    '192.168.77.5/24',
    `gateway.yaml:3: pool.ipv4: '192.168.77.5/24' has bits set below its length; write 192.168.77.0/24, or 192.168.77.5 for the one address`,
  ],
  [
    '192.168.77.0/24',
    '192.168.77.0/31',
    `gateway.yaml:3: pool.ipv4: '192.168.77.0/31' leaves no address for a client; write a prefix of /30 or shorter`,
  ],
  [
    'fd77:77::/64',
    '10.9.0.0/16',
    `gateway.yaml:3: pool.ipv6: '10.9.0.0/16' is not an IPv6 prefix; write e.g. fd77:77::/64`,
  ],
  [
    'idleSeconds: 0',
    'rate: { upload: 50 MB/s }',
    `gateway.yaml:8: session.rate.upload: '50 MB/s' is not a rate such as 50 Mbit/s, from 64 kbit/s, or 'none'; write e.g. 50 Mbit/s`,
  ],
  ['port: 443', 'port: 70000', `gateway.yaml:1: listen.port: '70000' is not a port from 0 to 65535; write e.g. 443`],
  ['port: 443', 'port: "443"', `gateway.yaml:1: listen.port: '443' is text; write the number without quotes, e.g. 443`],
  ['port: 443', 'prot: 443', `gateway.yaml:1: listen.prot: unknown key; did you mean 'port'?`],
  ['session: {', 'sesion: {', `gateway.yaml:8: sesion: unknown key; did you mean 'session'?`],
  [
    'enabled: true',
    'enabled: true, colour: blue',
    'gateway.yaml:9: datagram.colour: unknown key; known here: enabled, dpdSeconds',
  ],
  [
    'certificate: site.crt',
    'certificate: none.crt',
    `gateway.yaml:2: tls.certificate: 'DIR/none.crt' can't be read: there is no such file`,
  ],
  [
    'certificate: site.crt',
    'certificate: not-a.crt',
    `gateway.yaml:2: tls.certificate: 'DIR/not-a.crt' holds no PEM certificate`,
  ],
  [
    'key: site.key',
    'key: old.key',
    `gateway.yaml:2: tls.key: 'DIR/old.key' doesn't belong to the certificate 'DIR/site.crt' (CN=twinbore)`,
  ],
  [', key: site.key', '', 'gateway.yaml:2: tls.key: is missing; write e.g. key: site.key'],
  [
    'key: site.key',
    'key: site.key, pkcs12: site.pfx',
    'gateway.yaml:2: tls.certificate: stands beside pkcs12, which holds it already; remove one of the two',
  ],
  [
    'tls: { certificate: site.crt, key: site.key }\n',
    '',
    'gateway.yaml:1: tls: is missing; write e.g. { certificate: site.crt, key: site.key }',
  ],
  [
    'auth: { clientCa: ca.crt }',
    'auth: {}',
    'gateway.yaml:7: auth: lets nobody in; write users: users.yaml, or clientCa: ca.crt, or both',
  ],
  [
    'clientCa: ca.crt',
    'clientCa: site.crt',
    `gateway.yaml:7: auth.clientCa: 'DIR/site.crt' holds 'CN=twinbore', which is not a certificate authority; name the one that issued it`,
  ],
  [
    'clientCa: ca.crt',
    'users: nobody.yaml',
    `gateway.yaml:7: auth.users: 'DIR/nobody.yaml' can't be read: there is no such file`,
  ],
  [
    'include: [10.2.0.0/24]',
    'include: [192.168.77.128/25]',
    `gateway.yaml:5: routes.include[0]: '192.168.77.128/25' is inside the pool 192.168.77.0/24; clients would get addresses that hosts there have`,
  ],
  [
    'include: [10.2.0.0/24], exclude: []',
    'include: [10.2.0.0/24, 10.3.0.0/24], exclude: [10.2.0.9], maxRules: 2',
    'gateway.yaml:5: routes: holds 3 rules (2 include, 1 exclude), more than the limit of 2; merge prefixes, or raise routes.maxRules',
  ],
  [
    'include: [10.2.0.0/24]',
    'include: 10.2.0.0/24',
    `gateway.yaml:5: routes.include: '10.2.0.0/24' is not a list; write e.g. [10.2.0.0/24]`,
  ],
  [
    'servers: [10.2.0.2]',
    'servers: [dns.corp]',
    `gateway.yaml:4: dns.servers[0]: 'dns.corp' is not an IP address; write e.g. 10.2.0.2`,
  ],
  [
    'searchDomains: [corp.example]',
    'searchDomains: [corp..example]',
    `gateway.yaml:4: dns.searchDomains[0]: 'corp..example' is not a domain name; write e.g. corp.example`,
  ],
  [
    'mode: translate',
    'addresses: [10.2.0.9]',
    `gateway.yaml:6: egress.addresses: can't be had with mode sockets, whose flows leave with the host's own address; write mode: translate`,
  ],
  [
    'mode: translate',
    'mode: sockets, allow: [localhost]',
    `gateway.yaml:6: egress.allow[0]: 'localhost' is not an IP prefix; write e.g. 127.0.0.1`,
  ],
  [
    'servers: [10.2.0.2]',
    'forward: [10.2.0.2]',
    `gateway.yaml:4: dns.forward: needs egress.mode sockets, and that is translate; name the servers in dns.servers, or change the mode`,
  ],
  [
    'egress: { mode: translate }',
    'egress: { mode: sockets }\ndataPlane: { driver: worker }',
    `gateway.yaml:7: dataPlane.driver: 'worker' can't be had with egress.mode sockets, whose sockets live on the event loop; write loop, or change the mode`,
  ],
  [
    'egress: { mode: translate }',
    'egress: { mode: translate }\ndataPlane: { workers: 2 }',
    `gateway.yaml:7: dataPlane.workers: '2' needs dataPlane.driver worker, and that is auto; write driver: worker`,
  ],
  [
    'egress: { mode: translate }',
    'egress: { mode: translate }\ndataPlane: { driver: worker, workers: 65 }',
    `gateway.yaml:7: dataPlane.workers: '65' is not a number of threads from 1 to 64; write e.g. 1`,
  ],
  [
    'mode: translate',
    'mode: masquerade',
    `gateway.yaml:6: egress.mode: 'masquerade' is not known; write one of sockets, translate, kernel`,
  ],
  [
    'mode: translate',
    'mode: translate, ports: 400-60000',
    `gateway.yaml:6: egress.ports: '400-60000' holds the listening port 443; move one of them, e.g. ports: 444-60000`,
  ],
  [
    'mode: translate',
    'ports: 6000-400',
    `gateway.yaml:6: egress.ports: '6000-400' is not a range of ports from 1 to 65535; write e.g. 20000-60999`,
  ],
  [
    'mode: translate',
    'mode: translate, addresses: [192.168.77.9, "fd00::9"]',
    `gateway.yaml:6: egress.addresses[0]: '192.168.77.9' is inside the pool 192.168.77.0/24; take another`,
  ],
  [
    'maxSeconds: 3600',
    'maxSeconds: 1h',
    `gateway.yaml:8: session.maxSeconds: '1h' is not a number of seconds from 10 to 31536000; write e.g. 3600`,
  ],
  ['enabled: true', 'enabled: yes', `gateway.yaml:9: datagram.enabled: 'yes' is not true or false; write e.g. true`],
  [
    'datagram: { enabled: true }',
    'mtu: 1000',
    `gateway.yaml:9: mtu: '1000' is too short for IPv6 clients; write at least 1280, or remove pool.ipv6`,
  ],
  ['auth: {', 'auth: {}\nauth: {', 'gateway.yaml:8: not valid YAML: Map keys must be unique'],
  [
    'address: 0.0.0.0',
    'address: 192.168.77.1',
    `gateway.yaml:1: listen.address: '192.168.77.1' is inside the pool 192.168.77.0/24; choose a pool that is used nowhere else`,
  ],
  [
    'mode: translate',
    'transit: { ipv4: "fd00::1" }',
    `gateway.yaml:6: egress.transit.ipv4: 'fd00::1' is not an IPv4 address; write e.g. 192.0.0.2`,
  ],
  // Several mistakes: every one is told, in the order of the file, those of other files included.
  [
    'ipv6: fd77:77::/64 }',
    'ipv7: x }\nmtu: big\nlog: { level: loud }',
    `gateway.yaml:3: pool.ipv7: unknown key; did you mean 'ipv4'?`,
    `gateway.yaml:4: mtu: 'big' is not a packet length from 576 to 9000; write e.g. 1400`,
    `gateway.yaml:5: log.level: 'loud' is not known; write one of debug, info, warn, error, silent`,
  ],
  [
    'certificate: site.crt, key: site.key }\npool: { ipv4: 192.168.77.0/24',
    'certificate: none.crt, key: site.key }\npool: { ipv4: 192.168.77',
    `gateway.yaml:2: tls.certificate: 'DIR/none.crt' can't be read: there is no such file`,
    `gateway.yaml:3: pool.ipv4: '192.168.77' is not an IPv4 prefix; write e.g. 192.168.77.0/24`,
  ],
]
