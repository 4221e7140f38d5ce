// A host with a way out, for tests: runs in a network namespace, starts the egress that its argument describes, and carries
// packets between its device and the test as lines of text.
//
//   in:  write HEX          a packet for the device
//        stop               ends in peace
//   out: ready JSON         the device and what a translator must keep to
//        packet HEX         a packet from the device
//        dropped REASON     a packet that the device refused
//        stopped
import { createInterface } from 'node:readline'
import { IpAddress, Prefix, RouteTable } from '@twinbore/core/address'
import { cutPackets, dropReasonName, PacketBatch, Verdict } from '@twinbore/core/packet'
import type { EgressSettings } from '../../src/egress/egress.ts'
import { createEgress } from '../../src/egress/io/create-egress.ts'

interface HostOptions {
  readonly mode: 'translate' | 'kernel'
  readonly addresses?: readonly string[]
  readonly listenPorts?: readonly number[]
  readonly mtu?: number
}

const options = JSON.parse(process.argv[2]!) as HostOptions
const say = (line: string): void => void process.stdout.write(`${line}\n`)
const tell = (level: string) => (message: string, fields?: object) => {
  process.stderr.write(`${level}: ${message} ${JSON.stringify(fields ?? {})}\n`)
}
const settings: EgressSettings = {
  instance: 'test',
  config: {
    mode: options.mode,
    allow: [],
    ports: { first: 20_000, last: 60_999 },
    addresses: (options.addresses ?? []).map(address => IpAddress.of(address)),
    transit: { ipv4: IpAddress.of('192.0.0.9'), ipv6: IpAddress.of('fd00:7::9') },
  },
  pool: { ipv4: Prefix.parse('192.168.77.0/24')!, ipv6: Prefix.parse('fd77:77::/64')! },
  gatewayAddresses: { ipv4: IpAddress.of('192.168.77.1'), ipv6: IpAddress.of('fd77:77::1') },
  mtu: options.mtu ?? 1400,
  listenPorts: options.listenPorts ?? [443],
  destinations: [Prefix.parse('10.2.0.0/24')!],
  refused: () => RouteTable.compile([]),
  log: { debug: tell('debug'), info: tell('info'), warn: tell('warn'), error: tell('error') },
}

const egress = createEgress(settings)
await egress.start()
const device = egress.device
const incoming = new PacketBatch({ slotBytes: device.maxPacketBytes })
device.onReadable = () => {
  incoming.reset()
  device.read(incoming)
  for (let slot = 0; slot < incoming.count; slot++) {
    for (const packet of cutPackets(incoming, slot)) say(`packet ${Buffer.from(packet).toString('hex')}`)
  }
}
say(`ready ${JSON.stringify({ device: device.name, mtu: device.mtu, translation: egress.translation })}`)

const outgoing = new PacketBatch({ slotBytes: device.mtu })
for await (const line of createInterface({ input: process.stdin })) {
  const [word, argument] = line.split(' ')
  if (word === 'stop') break
  if (word !== 'write') continue
  outgoing.reset()
  outgoing.push(Buffer.from(argument!, 'hex'))
  const drops = outgoing.drops.slice()
  device.write(outgoing)
  if (outgoing.verdicts[0] === Verdict.drop) {
    say(`dropped ${dropReasonName(outgoing.drops.findIndex((count, reason) => count !== drops[reason]))}`)
  }
}
await egress.stop()
say('stopped')
process.stdin.destroy()
