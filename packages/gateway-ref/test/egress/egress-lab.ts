// What the tests of the ways out share: the host under test as a process in the gateway's namespace, programs of the
// corporate side, and the state of the host for comparing before and after.
import { fileURLToPath } from 'node:url'
import { IpAddress } from '@twinbore/core/address'
import {
  checkPacket,
  locateTransport,
  transportOffset,
  transportProtocol,
  verifyIpv4HeaderChecksum,
  verifyTransportChecksum,
} from '@twinbore/core/packet'
import { packetView } from '@twinbore/core/testing'
import type { LabNetwork } from '../../../../tests/lab/lab-network.ts'
import type { LabProcess } from '../../../../tests/lab/lab-process.ts'

const script = fileURLToPath(new URL('./egress-host.ts', import.meta.url))
const runTypeScript = ['--import', 'tsx', '--conditions=@twinbore/source']

/** The host under test. */
export class EgressHost {
  readonly process: LabProcess
  readonly device: string
  readonly mtu: number
  private taken = 0

  private constructor(child: LabProcess, ready: { device: string; mtu: number }) {
    this.process = child
    this.device = ready.device
    this.mtu = ready.mtu
  }

  static async start(network: LabNetwork, options: object): Promise<EgressHost> {
    const child = network.start('gateway', process.execPath, [...runTypeScript, script, JSON.stringify(options)], {
      input: '',
      keepInputOpen: true,
    })
    const [, ready] = await child.waitFor(/^ready (.*)$/m)
    return new EgressHost(child, JSON.parse(ready!) as { device: string; mtu: number })
  }

  /** Sends a packet as a client's would leave the data plane. */
  write(packet: Uint8Array): void {
    this.process.write(`write ${Buffer.from(packet).toString('hex')}\n`)
  }

  /** The next packet from the host that `wanted` accepts; others before it are passed over. */
  async read(wanted: (packet: Packet) => boolean): Promise<Packet> {
    for (;;) {
      const found = await this.process.waitFor(/^packet ([0-9a-f]+)$/m, { since: this.taken, timeoutMs: 10_000 })
      this.taken += found.index + found[0].length
      const packet = new Packet(Buffer.from(found[1]!, 'hex'))
      if (wanted(packet)) return packet
    }
  }

  /** Whether any packet came so far that `wanted` accepts. */
  hasRead(wanted: (packet: Packet) => boolean): boolean {
    return [...this.process.stdout.matchAll(/^packet ([0-9a-f]+)$/gm)].some(([, hex]) =>
      wanted(new Packet(Buffer.from(hex!, 'hex'))),
    )
  }

  async stop(): Promise<void> {
    this.process.write('stop\n')
    await this.process.waitFor(/^stopped$/m)
    await this.process.finished
  }
}

/** An IP packet, with what tests ask of it. */
export class Packet {
  readonly bytes: Uint8Array
  readonly view: DataView

  constructor(bytes: Uint8Array) {
    this.bytes = Uint8Array.from(bytes)
    this.view = packetView(this.bytes)
  }

  get family(): number {
    return this.bytes[0]! >> 4
  }

  get source(): string {
    return this.address(this.family === 4 ? 12 : 8)
  }

  get destination(): string {
    return this.address(this.family === 4 ? 16 : 24)
  }

  get protocol(): number {
    return transportProtocol(this.location)
  }

  /** Where the transport header begins. */
  get transport(): number {
    return transportOffset(this.location)
  }

  get sourcePort(): number {
    return this.view.getUint16(this.transport)
  }

  get destinationPort(): number {
    return this.view.getUint16(this.transport + 2)
  }

  /** What an ICMP error is about, as far as it carries it. */
  get embedded(): Packet {
    return new Packet(this.bytes.subarray(this.transport + 8))
  }

  /** Whether structure and every checksum are right. */
  get isSound(): boolean {
    if (checkPacket(this.view, 0, this.bytes.length) !== 0) return false
    if (this.family === 4 && !verifyIpv4HeaderChecksum(this.view, 0)) return false
    const length = this.bytes.length - this.transport
    return verifyTransportChecksum(this.view, 0, this.transport, length, this.protocol)
  }

  private get location(): number {
    return locateTransport(this.view, 0, this.bytes.length)
  }

  private address(at: number): string {
    return `${IpAddress.fromBytes(this.bytes, at, this.family === 4 ? 4 : 6)}`
  }
}

/** What the host is like: rules, addresses, routes, settings. Names and counters that move by themselves are left out. */
export async function hostState(network: LabNetwork): Promise<string> {
  const commands = [
    ['nft', 'list', 'ruleset'],
    ['ip', 'addr'],
    ['ip', 'neigh', 'show', 'proxy'],
    ['ip', 'route', 'show', 'table', 'all'],
    ['ip', '-6', 'route', 'show', 'table', 'all'],
    ['sysctl', '-a', '-r', '^net[.](ipv4|ipv6|netfilter)'],
  ]
  const parts: string[] = []
  for (const [program, ...parameters] of commands) {
    const { stdout } = await network.run('gateway', program!, parameters)
    parts.push(stdout.replaceAll(' tentative', ''))
  }
  return parts.join('\n').replaceAll(/^net\.netfilter\.nf_conntrack_count.*\n/gm, '')
}

/** Waits until IPv6 addresses of the gateway's links have settled: they change routes when they do. */
export async function settled(network: LabNetwork): Promise<void> {
  for (;;) {
    const { stdout } = await network.run('gateway', 'ip', ['-6', 'addr', 'show', 'tentative'])
    const link = await network.run('gateway', 'ip', ['-6', 'addr', 'show', 'scope', 'link'])
    if (stdout.trim() === '' && (link.stdout.match(/fe80::/g)?.length ?? 0) >= 2) return
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

/** A UDP echo server that says where each datagram came from: `from ADDRESS PORT LENGTH`. */
const udpEcho = `
const socket = require('node:dgram').createSocket({ type: process.argv[1] })
socket.on('message', (message, { address, port }) => {
  console.log('from', address, port, message.length)
  socket.send(message, port, address)
})
socket.bind(Number(process.argv[2]), process.argv[3], () => console.log('bound'))
`

export async function startUdpEcho(
  network: LabNetwork,
  host: 'corporate' | 'gateway',
  address: string,
  port: number,
): Promise<LabProcess> {
  const type = address.includes(':') ? 'udp6' : 'udp4'
  const child = network.start(host, process.execPath, ['-e', udpEcho, type, String(port), address])
  await child.waitFor(/^bound$/m)
  return child
}

/** Sends one UDP datagram from a host and prints the answer: `answer LENGTH`, or `error CODE`. */
const udpSend = `
const [type, address, port, length, local] = process.argv.slice(1)
const socket = require('node:dgram').createSocket({ type })
socket.on('message', message => { console.log('answer', message.length); socket.close() })
socket.on('error', error => { console.log('error', error.code); process.exit() })
socket.bind(Number(local), () => { socket.connect(Number(port), address, () => socket.send(Buffer.alloc(Number(length), 7))) })
`

export function sendUdp(
  network: LabNetwork,
  host: 'corporate' | 'gateway',
  target: { readonly address: string; readonly port: number; readonly length?: number; readonly from?: number },
): LabProcess {
  const { address, port, length = 4, from = 0 } = target
  const type = address.includes(':') ? 'udp6' : 'udp4'
  const parameters = ['-e', udpSend, type, address, String(port), String(length), String(from)]
  return network.start(host, process.execPath, parameters)
}
