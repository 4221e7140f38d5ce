// A process with a TUN for tests, run in a network namespace. It answers every echo request that comes out of the device,
// and does what lines on standard input tell it; the answer to each is one line of JSON on standard output.
import { createInterface } from 'node:readline'
import {
  DropReason,
  dropReasonName,
  IcmpType,
  IpProtocol,
  locateTransport,
  PacketBatch,
  transportOffset,
  transportProtocol,
  updateChecksum16,
  Verdict,
} from '@twinbore/core/packet'
import { LinkSettings, openTun, type Route } from '../../src/io/index.ts'

const device = openTun({ name: process.argv[2]!, mtu: 1400, addresses: ['10.88.0.1/24', 'fd88::1/64'] })
const settings = new LinkSettings()
const batch = new PacketBatch({ capacity: 8 })
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`)

let closing = false
const answerAll = (): void => {
  if (closing) {
    close()
    return
  }
  batch.reset()
  device.read(batch)
  for (let slot = 0; slot < batch.count; slot++) if (!answer(slot)) batch.drop(slot, DropReason.filtered)
  device.write(batch)
}
device.onReadable = answerAll
device.onLost = error => say({ lost: error.errno })

/** Turns an echo request into its reply, in place. */
function answer(slot: number): boolean {
  const { view, bytes } = batch
  const offset = batch.offsets[slot]!
  const location = locateTransport(view, offset, batch.lengths[slot]!)
  if (location < 0) return false
  const protocol = transportProtocol(location)
  const at = offset + transportOffset(location)
  const request = protocol === IpProtocol.icmp ? IcmpType.echoRequest : 128
  if ((protocol !== IpProtocol.icmp && protocol !== IpProtocol.icmpv6) || view.getUint8(at) !== request) return false
  const size = bytes[offset]! >> 4 === 4 ? 4 : 16
  const source = offset + (size === 4 ? 12 : 8)
  const before = view.getUint16(at)
  const swapped = bytes.slice(source, source + size)
  bytes.copyWithin(source, source + size, source + 2 * size)
  bytes.set(swapped, source + size)
  view.setUint8(at, protocol === IpProtocol.icmp ? IcmpType.echoReply : 129)
  view.setUint16(at + 2, updateChecksum16(view.getUint16(at + 2), before, view.getUint16(at)))
  return true
}

const commands: Record<string, (value: never) => unknown> = {
  stats: () => device.stats(),
  link: () => settings.link(device.name),
  addresses: () => settings.addresses(device.name).map(({ address }) => address),
  'add-routes': (routes: readonly Route[]) => routes.map(route => settings.addRoute(route)).length,
  'replace-route': (route: Route) => settings.replaceRoute(route),
  'remove-routes': (routes: readonly Route[]) => routes.filter(route => settings.removeRoute(route)).length,
  routes: ({ family, table }: { family: 4 | 6; table?: number }) => settings.routes(family, table),
  lookup: (address: string) => settings.lookup(address) ?? null,
  'set-link': (change: { up?: boolean; mtu?: number }) => settings.setLink(device.name, change),
  'remove-address': (address: string) => settings.removeAddress(device.name, address),
  proxy: ({ address, on }: { address: string; on: boolean }) =>
    on ? settings.addProxyNeighbour('lo', address) : settings.removeProxyNeighbour('lo', address),
  write: (hex: string) => {
    const one = new PacketBatch({ capacity: 1, slotBytes: 4096 })
    one.push(Buffer.from(hex, 'hex'))
    const written = device.write(one)
    const reason = one.drops.findIndex(count => count > 0)
    return one.verdicts[0] === Verdict.drop ? dropReasonName(reason) : written
  },
  'write-all': (packets: readonly string[]) => {
    const all = new PacketBatch()
    for (const packet of packets) all.push(Buffer.from(packet, 'hex'))
    return device.write(all)
  },
  /** Opens a second device and tells each packet that comes out of it. */
  'open-far': (options: object) => {
    const far = openTun(options)
    const arrived = new PacketBatch()
    far.onReadable = () => {
      arrived.reset()
      far.read(arrived)
      for (let slot = 0; slot < arrived.count; slot++) say({ far: Buffer.from(arrived.packet(slot)).toString('hex') })
    }
    return far.name
  },
  open: (options: object) => {
    const other = openTun(options)
    other.close()
    return other.name
  },
  pause: () => {
    device.onReadable = undefined
  },
  resume: () => {
    device.onReadable = answerAll
  },
  close,
  /** Closes inside the next `onReadable`. */
  'close-in-handler': () => {
    closing = true
  },
}

function close(): void {
  device.close()
  device.close()
  settings.close()
  input.close()
  process.stdin.destroy()
}

const input = createInterface({ input: process.stdin })
input.on('line', line => {
  const { command, value } = JSON.parse(line) as { command: string; value: never }
  try {
    say({ result: commands[command]!(value) ?? null })
  } catch (error) {
    const { code, message, errno } = error as { code?: string; message: string; errno?: string }
    say({ error: { code, message, errno } })
  }
})
say({ ready: device.name })
