// What the translator costs per packet: known flows out and back, few and many, and flows that it has never seen.
import { systemRandom } from '@twinbore/core/io'
import { IpProtocol, PacketBatch, TcpFlag, Verdict } from '@twinbore/core/packet'
import { packetView, tcpPacket, udpPacket } from '@twinbore/core/testing'
import { Translator } from '@twinbore/pat'
import { progress } from './harness/progress.ts'
import { Recorder } from './harness/result.ts'
import { quantile } from './harness/statistics.ts'

export interface PatBenchOptions {
  readonly rounds: number
  readonly json: string
}

const slots = 64
const batchesPerRound = 2000
const flowCounts = [1, 20_000]
const newFlows = 60_000
const payload = new Uint8Array(1360)
const empty = new Uint8Array(0)

type Kind = 'udp' | 'tcp'
type Family = 'IPv4' | 'IPv6'

export async function pat({ rounds, json }: PatBenchOptions): Promise<void> {
  const recorder = new Recorder()
  for (let round = 1; round <= rounds; round += 1) {
    for (const family of ['IPv4', 'IPv6'] as const) {
      for (const kind of ['udp', 'tcp'] as const) {
        for (const flows of flowCounts) {
          const { out, back } = knownFlows(kind, family, flows)
          const label = `${kind} ${family}, ${flows} flows`
          recorder.add('median', `${label}, outbound`, 'ns/packet', 'less', quantile(out, 0.5))
          recorder.add('p99', `${label}, outbound`, 'ns/packet', 'less', quantile(out, 0.99))
          recorder.add('median', `${label}, inbound`, 'ns/packet', 'less', quantile(back, 0.5))
          recorder.add('p99', `${label}, inbound`, 'ns/packet', 'less', quantile(back, 0.99))
        }
      }
    }
    const { perFlow, bytesPerFlow } = unknownFlows()
    recorder.add('median', `${newFlows} new UDP flows`, 'ns/flow', 'less', perFlow)
    recorder.add('median', 'memory of one UDP flow', 'bytes', 'less', bytesPerFlow)
    progress(`round ${round} of ${rounds}: a new flow ${perFlow.toFixed(0)} ns, ${bytesPerFlow.toFixed(0)} bytes`)
  }
  recorder.finish('pat', { rounds, batchesPerRound, slots }, json)
}

// Nanoseconds a packet, one sample per batch.
function knownFlows(kind: Kind, family: Family, flows: number): { out: number[]; back: number[] } {
  const translator = makeTranslator(family)
  const batch = new PacketBatch({ capacity: slots })
  const outbound = Array.from({ length: flows }, (_, flow) => clientPacket(kind, family, flow, TcpFlag.ack))
  const inbound = outbound.map((_, flow) => {
    if (kind === 'tcp') handshake(translator, batch, family, flow)
    const [sent] = translated(translator, batch, 'translateOutbound', [outbound[flow]!])
    return mirrored(sent!, family)
  })
  const [out, back]: [number[], number[]] = [[], []]
  for (let n = -200; n < batchesPerRound; n += 1) {
    for (const [packets, stage, samples] of [
      [outbound, 'translateOutbound', out],
      [inbound, 'translateInbound', back],
    ] as const) {
      batch.reset()
      for (let slot = 0; slot < slots; slot += 1) batch.push(packets[Math.floor(Math.random() * flows)]!)
      const startedAt = performance.now()
      translator[stage](batch, 0)
      const elapsed = performance.now() - startedAt
      for (let slot = 0; slot < slots; slot += 1) {
        if (batch.verdicts[slot] !== Verdict.forward) throw new Error('a packet was lost')
      }
      // The first batches only warm the code up.
      if (n >= 0) samples.push((elapsed * 1e6) / slots)
    }
  }
  return { out, back }
}

function unknownFlows(): { perFlow: number; bytesPerFlow: number } {
  const translator = makeTranslator('IPv4')
  const batch = new PacketBatch({ capacity: slots })
  const before = translator.stats().memoryBytes
  const packets = Array.from({ length: newFlows }, (_, flow) => clientPacket('udp', 'IPv4', flow, 0, empty))
  let elapsed = 0
  for (let flow = 0; flow < newFlows; flow += slots) {
    batch.reset()
    for (const packet of packets.slice(flow, flow + slots)) batch.push(packet)
    const startedAt = performance.now()
    translator.translateOutbound(batch, 0)
    elapsed += performance.now() - startedAt
  }
  const { mappings, memoryBytes } = translator.stats()
  if (mappings.udp !== newFlows) throw new Error('a flow was refused')
  return { perFlow: (elapsed * 1e6) / newFlows, bytesPerFlow: (memoryBytes - before) / newFlows }
}

function makeTranslator(family: Family): Translator {
  return new Translator({
    random: systemRandom,
    outsideAddresses: [family === 'IPv4' ? '203.0.113.7' : '2001:db8::7'],
    insidePrefixes: [family === 'IPv4' ? '10.8.0.0/16' : 'fd00::/16'],
    newMappingsPerSecond: 1e6,
    newMappingBurst: 1e6,
  })
}

/** 400 flows a client. */
function clientPacket(kind: Kind, family: Family, flow: number, flags: number, data = payload): Uint8Array {
  const client = 2 + Math.floor(flow / 400)
  const ends = {
    source: family === 'IPv4' ? `10.8.${client >> 8}.${client & 255}` : `fd00::${client.toString(16)}`,
    destination: family === 'IPv4' ? '198.51.100.10' : '2001:db8:ff::10',
    sourcePort: 10_000 + (flow % 400),
    destinationPort: 443,
    dontFragment: true,
  }
  if (kind === 'udp') return udpPacket({ ...ends, payload: data })
  if (flags === TcpFlag.syn) return tcpPacket({ ...ends, flags, sequenceNumber: 99 })
  return tcpPacket({ ...ends, flags, sequenceNumber: 100, acknowledgmentNumber: 500, payload: data })
}

function handshake(translator: Translator, batch: PacketBatch, family: Family, flow: number): void {
  const [syn] = translated(translator, batch, 'translateOutbound', [clientPacket('tcp', family, flow, TcpFlag.syn)])
  const answer = mirrored(syn!, family)
  const at = family === 'IPv4' ? 20 : 40
  const view = packetView(answer)
  view.setUint8(at + 13, TcpFlag.syn | TcpFlag.ack)
  view.setUint32(at + 4, 499)
  view.setUint32(at + 8, 100)
  translated(translator, batch, 'translateInbound', [answer])
}

function translated(
  translator: Translator,
  batch: PacketBatch,
  stage: 'translateOutbound' | 'translateInbound',
  packets: Uint8Array[],
): Uint8Array[] {
  batch.reset()
  for (const packet of packets) batch.push(packet)
  translator[stage](batch, 0)
  return packets.map((_, slot) => {
    if (batch.verdicts[slot] !== Verdict.forward) throw new Error('a packet was refused')
    return batch.packet(slot).slice()
  })
}

/** The answer to a packet: addresses and ports change places, acknowledging what was sent. */
function mirrored(packet: Uint8Array, family: Family): Uint8Array {
  const copy = packet.slice()
  const [at, length, transport] = family === 'IPv4' ? [12, 4, 20] : [8, 16, 40]
  copy.copyWithin(at, at + length, at + 2 * length)
  copy.set(packet.subarray(at, at + length), at + length)
  copy.copyWithin(transport, transport + 2, transport + 4)
  copy.set(packet.subarray(transport, transport + 2), transport + 2)
  if (packet[family === 'IPv4' ? 9 : 6] === IpProtocol.tcp) {
    copy.copyWithin(transport + 4, transport + 8, transport + 12)
    copy.set(packet.subarray(transport + 4, transport + 8), transport + 8)
  }
  return copy
}
