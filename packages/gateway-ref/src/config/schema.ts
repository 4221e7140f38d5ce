import { z } from 'zod'
import type { GatewayConfig, TlsConfig } from './gateway-config.ts'
import {
  address,
  domainName,
  duration,
  familyAddress,
  familyPrefix,
  flag,
  list,
  path,
  pem,
  portRange,
  prefix,
  rate,
  section,
  wholeNumber,
  word,
} from './setting.ts'

// Every setting once: what it may be, what it means, what it is when nobody sets it. The checks of configuration files
// and of options given by programs, the published JSON Schema and the names of environment variables all come from here.
// What concerns more than one setting is in `semantic-checks.ts`.

const listen: z.ZodType<GatewayConfig['listen']> = section(
  {
    address: address('0.0.0.0')
      .transform(String)
      .describe('Address to listen on, TCP and UDP; 0.0.0.0 is every IPv4 address, "::" every address.')
      .prefault('0.0.0.0'),
    port: wholeNumber(0, 65_535, 'a port', 443)
      .describe('TCP and UDP port, the same for both; 0 lets the system choose.')
      .default(443),
  },
  '{ address: 0.0.0.0, port: 443 }',
).describe('Where the gateway listens.')

const tlsExample = '{ certificate: site.crt, key: site.key }'
const tls: z.ZodType<TlsConfig> = section(
  {
    certificate: pem('site.crt')
      .optional()
      .describe("PEM chain, the gateway's own certificate first: a path, or the text itself."),
    key: pem('site.key').optional().describe('PEM private key of the certificate: a path, or the text itself.'),
    pkcs12: path('site.pfx').optional().describe('PKCS#12 file with certificate, chain and key, in place of both.'),
    passphraseFile: path('site.pass').optional().describe('File whose first line is the passphrase of the key.'),
  },
  tlsExample,
)
  .transform((value, context): TlsConfig => {
    const { certificate, key, pkcs12, passphraseFile } = value
    const refuse = (at: string[], message: string) =>
      context.issues.push({ code: 'custom', path: at, message, input: value })
    if (pkcs12 !== undefined) {
      if (!certificate && !key) return { type: 'pkcs12', file: pkcs12, passphraseFile }
      refuse(
        [certificate ? 'certificate' : 'key'],
        'stands beside pkcs12, which holds it already; remove one of the two',
      )
    } else if (!certificate && !key) {
      refuse([], `holds no certificate; write e.g. ${tlsExample}, or { pkcs12: site.pfx, passphraseFile: site.pass }`)
    } else if (!certificate) {
      refuse(['certificate'], 'is missing; write e.g. certificate: site.crt')
    } else if (!key) {
      refuse(['key'], 'is missing; write e.g. key: site.key')
    } else {
      return { type: 'pem', certificate, key, passphraseFile }
    }
    return z.NEVER
  })
  .describe("The gateway's certificate: certificate and key, or pkcs12.")
  .meta({ oneOf: [{ required: ['certificate', 'key'] }, { required: ['pkcs12'] }] })

const pool: z.ZodType<GatewayConfig['pool']> = section(
  {
    ipv4: familyPrefix(4, '192.168.77.0/24').optional().describe('IPv4 prefix that clients get addresses from.'),
    ipv6: familyPrefix(6, 'fd77:77::/64').optional().describe('IPv6 prefix that clients get addresses from.'),
    quarantineSeconds: duration(60)
      .describe('How long a released address rests before another user may get it.')
      .default(60),
  },
  '{ ipv4: 192.168.77.0/24 }',
)
  .transform(value => ({ ipv4: undefined, ipv6: undefined, ...value }))
  .describe('Addresses of the clients; at least one family.')

const dns: z.ZodType<GatewayConfig['dns']> = section(
  {
    servers: list(address('10.2.0.2'), '[10.2.0.2]').describe('Name servers that clients are told to use.').default([]),
    forward: list(address('10.2.0.2'), '[10.2.0.2]')
      .describe(
        "Name servers that the gateway asks in place of its clients, who are told to use the gateway's inside address; with egress.mode sockets.",
      )
      .default([]),
    searchDomains: list(domainName('corp.example'), '[corp.example]')
      .describe('Domains appended to short names.')
      .default([]),
    splitDomains: list(domainName('corp.example'), '[corp.example]')
      .describe('Domains resolved through the tunnel while others are not; empty means no split.')
      .default([]),
  },
  '{ servers: [10.2.0.2] }',
).describe('Name resolution of the clients.')

const routes: z.ZodType<GatewayConfig['routes']> = section(
  {
    include: list(prefix('10.2.0.0/24'), '[10.2.0.0/24]')
      .describe('Prefixes that go through the tunnel; empty means everything.')
      .default([]),
    exclude: list(prefix('10.2.0.128/25'), '[10.2.0.128/25]').describe('Prefixes that stay outside.').default([]),
    maxRules: wholeNumber(1, 100_000, 'a number of rules', 500)
      .describe('Most rules, include and exclude together; a configuration with more is refused.')
      .default(500),
  },
  '{ include: [10.2.0.0/24] }',
).describe('Which destinations go through the tunnel.')

const egress: z.ZodType<GatewayConfig['egress']> = section(
  {
    mode: word(['sockets', 'translate', 'kernel'])
      .describe(
        'How packets leave: sockets is ordinary sockets of the process and needs no rights, translate is our own translator over a TUN device, kernel is masquerade of the kernel.',
      )
      .default('sockets'),
    allow: list(prefix('127.0.0.1'), '[127.0.0.1]')
      .describe(
        "Destinations that clients may reach although the rules refuse them, such as loopback, link-local, the host's own addresses; the longest prefix decides.",
      )
      .default([]),
    ports: portRange('20000-60999')
      .describe("Outside ports given to clients' flows, first to last.")
      .prefault('20000-60999'),
    addresses: list(address('10.2.0.9'), '[10.2.0.9]')
      .describe("Outside addresses of their own, routed to this host; empty means the host's own address, by port.")
      .default([]),
    transit: section(
      {
        ipv4: familyAddress(4, '192.0.0.2').describe('IPv4 transit address.').prefault('192.0.0.2'),
        ipv6: familyAddress(6, 'fd74:7769:6e62:6f72::2')
          .describe('IPv6 transit address.')
          .prefault('fd74:7769:6e62:6f72::2'),
      },
      '{ ipv4: 192.0.0.2 }',
    )
      .describe("Inner addresses of the translator, swapped for the host's own; change them only when they are taken.")
      .prefault({}),
  },
  '{ mode: sockets }',
).describe('How packets leave to the corporate network.')

const auth: z.ZodType<GatewayConfig['auth']> = section(
  {
    users: path('users.yaml').optional().describe('Users file, written by `twinbore user add`.'),
    clientCa: pem('ca.crt')
      .optional()
      .describe('PEM of the authority that issues client certificates: a path, or the text itself.'),
    certificateUser: word(['cn', 'uid', 'email'])
      .describe(
        'The part of a client certificate that names its user: CN or UID of the subject, or its e-mail address.',
      )
      .default('cn'),
    require: word(['any', 'all'])
      .describe('With both users and clientCa: whether any of the two is enough, or all are asked for.')
      .default('any'),
  },
  '{ users: users.yaml }',
)
  .transform(value => ({ users: undefined, clientCa: undefined, ...value }))
  .describe('Who may log in; at least one of users and clientCa.')

const access: z.ZodType<string | undefined> = path('policy.yaml')
  .optional()
  .describe('Access policy: who of those who have logged in gets in, and to what; without one everybody does.')

const session: z.ZodType<GatewayConfig['session']> = section(
  {
    maxSeconds: duration(3600, 10).describe('The longest a session lives, over all its reconnects.').default(3600),
    idleSeconds: duration(1800)
      .describe('Ends a session that carried no user data for so long; 0 means never.')
      .default(0),
    dpdSeconds: duration(30).describe('Silence after which a peer is probed; 0 means never.').default(30),
    cookieSeconds: duration(300)
      .describe('How long a session without a channel is kept for its client to come back.')
      .default(300),
    rekeySeconds: duration(86_400)
      .describe('How often clients are to renew the keys of both channels, by a new tunnel; 0 means never.')
      .default(86_400),
    maxSessions: wholeNumber(1, 1_000_000, 'a number of sessions', 4096)
      .describe('Most sessions at once; a login beyond it is refused and says so.')
      .default(4096),
    maxSessionsPerUser: wholeNumber(1, 1_000_000, 'a number of sessions', 16)
      .describe('Most sessions of one user at once.')
      .default(16),
    rate: section(
      {
        upload: rate('50 Mbit/s').describe('Most that a client may send.').prefault('none'),
        download: rate('200 Mbit/s').describe('Most that a client may get.').prefault('none'),
      },
      '{ upload: 50 Mbit/s, download: 200 Mbit/s }',
    )
      .describe(
        'What one session may carry, in IP packets, such as 50 Mbit/s (kbit/s, Mbit/s, Gbit/s); none is no limit. The users file may say otherwise for a user.',
      )
      .prefault({}),
  },
  '{ maxSeconds: 3600 }',
).describe('How long sessions live, and how many there may be.')

const datagram: z.ZodType<GatewayConfig['datagram']> = section(
  {
    enabled: flag(true).describe('Whether clients get a DTLS channel beside the TLS one.').default(true),
    dpdSeconds: duration(5)
      .describe('Silence on the DTLS channel after which a client probes it; twice as long, and it moves to TLS.')
      .default(5),
  },
  '{ enabled: true }',
).describe('The datagram channel (DTLS over UDP).')

const mtu: z.ZodType<number> = wholeNumber(576, 9000, 'a packet length', 1400)
  .describe('The longest IP packet of the tunnel, in bytes; each client agrees on its own value up to this.')
  .default(1400)

const dataPlane: z.ZodType<GatewayConfig['dataPlane']> = section(
  {
    driver: word(['auto', 'worker', 'loop', 'portable'])
      .describe(
        'worker is a thread of its own, with egress modes translate and kernel; loop is the event loop; portable is that without native system calls; auto takes worker where it can be had.',
      )
      .default('auto'),
    workers: wholeNumber(1, 64, 'a number of threads', 1)
      .describe(
        'How many threads share the work; more than one needs driver worker. Good is one for each core that is free.',
      )
      .default(1),
    offload: section(
      {
        tun: word(['all', 'tcp', 'write', 'plain'])
          .describe(
            'How much a TUN interface is asked for: all; tcp is no super-packets of UDP; write is packets read one by one; plain is no virtio headers at all.',
          )
          .default('all'),
        gso: flag(true)
          .describe('Whether trains of equal datagrams are sent in one piece (UDP_SEGMENT).')
          .default(true),
        gro: flag(true)
          .describe('Whether trains of equal datagrams are received in one piece (UDP_GRO).')
          .default(true),
      },
      '{ tun: all, gso: true, gro: true }',
    )
      .describe(
        'What the kernel is asked for. What it can not do is left out by itself; these are for kernels that do it wrong.',
      )
      .prefault({}),
    records: word(['auto', 'node'])
      .describe('How records are protected: auto is libcrypto where it passes a self-test, node is node:crypto.')
      .default('auto'),
    streams: word(['own', 'node'])
      .describe("Who makes the TLS records of stream channels: the own record layer where it can, or Node's TLS.")
      .default('own'),
  },
  '{ driver: auto, workers: 1 }',
).describe('What moves the packets.')

const log: z.ZodType<GatewayConfig['log']> = section(
  {
    level: word(['debug', 'info', 'warn', 'error', 'silent'])
      .describe('The least severe lines that are written.')
      .default('info'),
    format: word(['auto', 'json', 'text']).describe('auto is text on a terminal and JSON elsewhere.').default('auto'),
  },
  '{ level: info }',
).describe('The log on standard error.')

/** The sections, each checked on its own so that a mistake in one hides none in another. */
export const sectionSchemas: { readonly [Name in keyof GatewayConfig]: z.ZodType<GatewayConfig[Name]> } = {
  listen,
  tls,
  pool,
  dns,
  routes,
  egress,
  auth,
  access,
  session,
  datagram,
  mtu,
  dataPlane,
  log,
}

/** Sections that have no defaults. */
export const requiredSections: readonly (keyof GatewayConfig)[] = ['tls', 'pool', 'auth']
