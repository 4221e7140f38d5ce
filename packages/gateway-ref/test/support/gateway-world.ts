import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { IpAddress } from '@twinbore/core/address'
import type { PacketDevice } from '@twinbore/tun'
import { hashPassword } from '../../src/auth/io/password-hasher.ts'
import { formatPasswordRecord } from '../../src/auth/password-record.ts'
import type { ConnectOptions } from '../../src/client/client-options.ts'
import { TunnelClient } from '../../src/client/io/tunnel-client.ts'
import type { GatewayConfig } from '../../src/config/gateway-config.ts'
import type { GatewayOptions } from '../../src/config/gateway-options.ts'
import { loadGatewayOptions } from '../../src/config/io/load-config.ts'
import { Gateway, type GatewayHands } from '../../src/control-plane/io/gateway.ts'
import type { Egress, Translation } from '../../src/egress/egress.ts'
import { ensureDevelopmentIdentity } from '../../src/identity/io/development-identity.ts'
import type { LogFields, Logger } from '../../src/log/logger.ts'
import { answeringHost, PacketHost } from './packet-host.ts'

/** A way out into the memory of this process. */
export class MemoryEgress implements Egress {
  readonly mode = 'translate'
  readonly network: PacketHost = answeringHost()
  readonly device: PacketDevice = this.network.device
  translation: Translation | undefined = {
    outsideAddresses: [IpAddress.of('203.0.113.1'), IpAddress.of('2001:db8:ffff::1')],
    gatewayAddresses: [IpAddress.of('10.77.0.1'), IpAddress.of('fd77::1')],
    portRange: { first: 20_000, last: 60_999 },
    excludedPorts: [],
    decrementTtl: true,
  }
  readonly calls: string[] = []
  /** What `start` and `stop` wait for. */
  gate: Promise<unknown> = Promise.resolve()

  async start(): Promise<void> {
    this.calls.push('start')
    await this.gate
  }

  async stop(): Promise<void> {
    this.calls.push('stop')
    await this.gate
  }
}

/** Keeps the lines of a log. */
export class LogLines implements Logger {
  readonly lines: { readonly level: string; readonly message: string; readonly fields: LogFields }[] = []
  readonly debug = this.writer('debug')
  readonly info = this.writer('info')
  readonly warn = this.writer('warn')
  readonly error = this.writer('error')

  /** The first line that fits. */
  find(pattern: RegExp): (typeof this.lines)[number] | undefined {
    return this.lines.find(({ message }) => pattern.test(message))
  }

  get text(): string {
    return JSON.stringify(this.lines)
  }

  private writer(level: string): Logger['info'] {
    return (message, fields = {}) => this.lines.push({ level, message, fields })
  }
}

export const password = 'correct horse battery'

/** Folders, users and certificates for gateways on 127.0.0.1, and everything that was opened, for closing. */
export class GatewayWorld {
  readonly folder: string
  readonly log: LogLines = new LogLines()
  private readonly closing: (() => unknown)[] = []

  private constructor(folder: string) {
    this.folder = folder
  }

  static async create(): Promise<GatewayWorld> {
    const world = new GatewayWorld(await mkdtemp(join(tmpdir(), 'twinbore-world-')))
    await ensureDevelopmentIdentity({ directory: join(world.folder, 'first') })
    await ensureDevelopmentIdentity({ directory: join(world.folder, 'second') })
    await world.writeUsers()
    return world
  }

  /** Writes users `user0` to `user24`, those of `disabled` so. */
  async writeUsers(disabled: readonly string[] = []): Promise<void> {
    const record = formatPasswordRecord(await hashPassword(password, { N: 1024, r: 1, p: 1 }))
    const users = Array.from({ length: 25 }, (_, i) => `user${i}`)
    const lines = users.map(name => `${name}: { password: "${record}", disabled: ${disabled.includes(name)} }\n`)
    await writeFile(join(this.folder, 'users.yaml'), lines.join(''), { mode: 0o600 })
  }

  async config(changes: Partial<GatewayOptions> = {}, identity: 'first' | 'second' = 'first'): Promise<GatewayConfig> {
    const { config } = await loadGatewayOptions({
      listen: { address: '127.0.0.1', port: 0 },
      tls: {
        certificate: join(this.folder, identity, 'gateway.crt'),
        key: join(this.folder, identity, 'gateway.key'),
      },
      pool: { ipv4: '10.77.0.0/24', ipv6: 'fd77::/64' },
      dns: { servers: ['10.9.9.9'] },
      auth: { users: join(this.folder, 'users.yaml') },
      ...changes,
    })
    return config
  }

  /** A gateway that is not started yet. */
  async gateway(changes: Partial<GatewayOptions> = {}): Promise<{ gateway: Gateway; egress: MemoryEgress }> {
    const egress = new MemoryEgress()
    const gateway = new Gateway(await this.config(changes), { egress, log: this.log })
    this.closing.push(() => gateway.stop({ immediately: true }).catch(() => {}))
    return { gateway, egress }
  }

  /** A running gateway with a way out of its own. Without `egress` that is what the configuration asks for. */
  async startGatewayWith(hands: Omit<GatewayHands, 'log'>, changes: Partial<GatewayOptions> = {}): Promise<Gateway> {
    const gateway = new Gateway(await this.config(changes), { ...hands, log: this.log })
    this.closing.push(() => gateway.stop({ immediately: true }).catch(() => {}))
    await gateway.start()
    return gateway
  }

  async startGateway(changes: Partial<GatewayOptions> = {}): Promise<{ gateway: Gateway; egress: MemoryEgress }> {
    const made = await this.gateway(changes)
    await made.gateway.start()
    return made
  }

  /** A client that is not started yet, and the computer whose packets it carries. */
  client(
    gateway: Gateway,
    {
      user = 'user0',
      port = gateway.port,
      ...options
    }: Partial<ConnectOptions> & { user?: string; port?: number } = {},
  ): { tunnel: TunnelClient; computer: PacketHost } {
    const computer = new PacketHost()
    const tunnel = new TunnelClient({
      url: `https://127.0.0.1:${port}`,
      serverPin: gateway.pin,
      credentials: { username: user, password },
      log: this.log,
      interface: () => ({ device: computer.device, update: () => {}, close: () => computer.device.close() }),
      ...options,
    })
    this.closing.push(() => tunnel.stop().catch(() => {}))
    return { tunnel, computer }
  }

  /** A TCP relay to a port, whose connections can be cut. */
  async relay(port: number): Promise<{ port: number; cut(): void }> {
    const sockets = new Set<Socket>()
    const server: Server = createServer(inner => {
      const outer = connectTcp(port, '127.0.0.1')
      for (const [one, other] of [
        [inner, outer],
        [outer, inner],
      ] as const) {
        sockets.add(one)
        one.on('error', () => {})
        one.on('close', () => {
          sockets.delete(one)
          other.destroy()
        })
        one.pipe(other)
      }
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const cut = () => {
      for (const socket of sockets) socket.destroy()
    }
    this.closing.push(() => {
      cut()
      server.close()
    })
    return { port: (server.address() as { port: number }).port, cut }
  }

  /** Closes what was opened. */
  async close(): Promise<void> {
    for (const step of this.closing.splice(0).reverse()) await step()
    this.log.lines.length = 0
  }

  async remove(): Promise<void> {
    await this.close()
    await rm(this.folder, { recursive: true })
  }
}
