// Mutated packets into both modes. The long form: FUZZ_RUNS=10000000 FUZZ_SEED=... npx vitest run --project unit packages/tun/test/netstack/net-stack.fuzz
import {
  checkPacket,
  ipv4Text,
  ipv6Text,
  PacketBatch,
  TcpFlag,
  Verdict,
  writeIpv4HeaderChecksum,
  writeTransportChecksum,
} from '@twinbore/core/packet'
import { type Random, seededRandom } from '@twinbore/core/runtime'
import {
  fragmentPacket,
  icmpEchoPacket,
  icmpErrorPacket,
  machineComplianceTests,
  packetView,
  tcpPacket,
  udpPacket,
} from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import { NetStack, type NetStackLimits } from '../../src/netstack/index.ts'

const runs = Number(process.env.FUZZ_RUNS ?? 100_000)
const seed = Number(process.env.FUZZ_SEED ?? 11)

const limits: Partial<NetStackLimits> = {
  maxSources: 64,
  maxFlows: 300,
  maxTcpFlowsPerSource: 100,
  maxUdpFlowsPerSource: 100,
  maxDialsPerSource: 50,
  newFlowsPerSecondPerSource: 1000,
  newFlowBurstPerSource: 1000,
  maxReassemblyBytes: 100_000,
  maxBufferBytesPerSource: 1_000_000,
  maxBufferBytes: 4_000_000,
}

describe.each(['gateway', 'client'] as const)('%s', mode => {
  test(`takes ${runs} mutated packets without a throw, and stays within its caps (FUZZ_SEED=${seed})`, () => {
    const random = seededRandom(seed)
    const stack = makeStack(mode)
    const packets = corpus(mode)
    const batch = new PacketBatch({ capacity: 32, slotBytes: 2048 })
    const drained = new PacketBatch({ capacity: 64, slotBytes: 2048 })
    let now = 1000
    let sent = 0
    let established = 0
    /** What a peer would say to what was sent last. */
    const replies: Uint8Array[] = []
    for (let run = 0; run < runs; ) {
      batch.reset()
      while (!batch.full && run++ < runs) {
        const live = replies.length > 0 && random.uint32() % 2 === 0
        const from = live ? replies : packets
        const packet = from[random.uint32() % from.length]!
        // Half of what is on its way in a conversation stays right, so that there are conversations.
        batch.push(live && random.uint32() % 2 === 0 ? packet : mutate(packet, random))
      }
      stack.handlePackets(batch, now)
      for (let slot = 0; slot < batch.count; slot++) expect(batch.verdicts[slot]).not.toBe(Verdict.forward)
      for (let output = stack.poll(); output; output = stack.poll()) {
        if (output.type === 'flow-established') established++
        answer(stack, output, random, now)
      }
      if (mode === 'client' && random.uint32() % 4 === 0) openSome(stack, random, now)
      drained.reset()
      sent += stack.drain(drained, now)
      for (let slot = 0; slot < drained.count; slot++) {
        // What goes out is whole and right, whatever came in.
        if (checkPacket(drained.view, drained.offsets[slot]!, drained.lengths[slot]!) !== 0) {
          throw new Error(`a broken packet went out: ${[...drained.packet(slot)]} (FUZZ_SEED=${seed})`)
        }
        const reply = replyTo(drained.packet(slot), random)
        if (reply) replies[random.uint32() % 32] = reply
      }
      for (let i = 0; i < 32; i++) replies[i] ??= packets[0]!
      now += random.uint32() % 50
      if ((stack.deadline ?? now + 1) <= now) stack.handleDeadline(now)
      if (run % 3200 < 32) withinCaps(stack)
    }
    expect(sent).toBeGreaterThan(runs / 100)
    expect(established).toBeGreaterThan(runs / 1000)
    // Left alone, everything ends.
    for (let i = 0; i < 20_000 && stack.deadline !== undefined; i++) {
      now = Math.max(now, stack.deadline)
      stack.handleDeadline(now)
      for (let output = stack.poll(); output; output = stack.poll()) {
        if (output.type === 'flow-requested') stack.refuse(output.flow, 'silent', now)
      }
      drained.reset()
      stack.drain(drained, now)
    }
    expect(stack.stats()).toMatchObject({ reassemblies: 0, reassemblyBytes: 0, dials: 0, timeWait: 0 })
    for (const address of sources(mode)) stack.removeSource(address, now)
    for (let output = stack.poll(); output; output = stack.poll());
    expect(stack.stats().bufferBytes).toBe(0)
  }, 86_400_000)
})

describe('as a machine', () => {
  for (const mode of ['gateway', 'client'] as const) {
    const checks = machineComplianceTests(() => {
      const stack = makeStack(mode)
      const drained = new PacketBatch({ capacity: 64, slotBytes: 2048 })
      const feed = (packet: Uint8Array) => (now: number) => {
        const batch = new PacketBatch({ capacity: 1, slotBytes: 2048 })
        batch.push(packet)
        stack.handlePackets(batch, now)
        drained.reset()
        stack.drain(drained, now)
      }
      const opening =
        mode === 'client' ? [(now: number) => void stack.openTcp({ remote: { address: far4, port: 9 } }, now)] : []
      return { machine: stack, inputs: [...opening, ...corpus(mode).map(feed)] }
    })
    test.each(checks)(`${mode}: $name`, ({ run }) => run())
  }
})

const inside4 = '10.77.0.2'
const inside6 = 'fd77::2'
const far4 = '198.51.100.7'
const far6 = '2001:db8:ff::7'

function sources(mode: 'gateway' | 'client'): string[] {
  return mode === 'client' ? [inside4, inside6] : [inside4, inside6, '10.77.0.3', 'fd77::3']
}

function makeStack(mode: 'gateway' | 'client'): NetStack {
  const random = seededRandom(3)
  return mode === 'gateway'
    ? new NetStack({ random, acceptAnyDestination: true, addresses: ['10.77.0.1', 'fd77::1'], limits })
    : new NetStack({ random, addresses: [inside4, inside6], limits, ephemeralPorts: [1000, 1003] })
}

/** Packets of every kind, in the direction of the mode. */
function corpus(mode: 'gateway' | 'client'): Uint8Array[] {
  const payload = seededRandom(5).fill(new Uint8Array(60))
  const long = seededRandom(6).fill(new Uint8Array(3000))
  return [
    [inside4, far4],
    [inside6, far6],
    ['10.77.0.3', far4],
    ['fd77::3', far6],
  ].flatMap(([inside, far]) => {
    const ends = mode === 'gateway' ? { source: inside!, destination: far! } : { source: far!, destination: inside! }
    const ports = { sourcePort: 443, destinationPort: 1000 }
    const v4 = inside!.includes('.')
    const about = tcpPacket({
      source: ends.destination,
      destination: ends.source,
      sourcePort: 1000,
      destinationPort: 443,
    })
    const aboutUdp = udpPacket({
      source: ends.destination,
      destination: ends.source,
      sourcePort: 1000,
      destinationPort: 443,
    })
    const udp = udpPacket({ ...ends, ...ports, payload: long, identification: 9 })
    const types = v4 ? [3, 11, 12] : [1, 2, 3, 4]
    return [
      tcpPacket({
        ...ends,
        ...ports,
        flags: TcpFlag.syn,
        sequenceNumber: 99,
        tcpOptions: Uint8Array.of(2, 4, 5, 0xb4, 4, 2, 3, 3, 7),
      }),
      tcpPacket({ ...ends, ...ports, flags: TcpFlag.syn | TcpFlag.ack, sequenceNumber: 99, acknowledgmentNumber: 1 }),
      tcpPacket({ ...ends, ...ports, sequenceNumber: 100, acknowledgmentNumber: 1, payload }),
      tcpPacket({ ...ends, ...ports, flags: TcpFlag.fin | TcpFlag.ack, sequenceNumber: 160, acknowledgmentNumber: 1 }),
      tcpPacket({ ...ends, ...ports, flags: TcpFlag.rst, sequenceNumber: 100 }),
      udpPacket({ ...ends, ...ports, payload }),
      icmpEchoPacket({ ...ends, identifier: 7, payload }),
      icmpEchoPacket({ ...ends, identifier: 7, payload, reply: true }),
      ...types.flatMap(type =>
        [0, 1, 3, 4].map(code =>
          icmpErrorPacket({ ...ends, type, code, parameter: 1300, about: code & 1 ? about : aboutUdp }),
        ),
      ),
      ...fragmentPacket(udp, 1300, 9),
    ]
  })
}

/** Turns a packet into one that is nearly right: most mutations keep the checksums good, so that they get far. */
function mutate(original: Uint8Array, random: Random): Uint8Array {
  let packet = original.slice()
  const kind = random.uint32() % 8
  if (kind === 0) return packet
  const changes = 1 + (random.uint32() % 4)
  for (let i = 0; i < changes; i++) {
    const reach = kind < 6 ? Math.min(packet.length, 100) : packet.length
    packet[random.uint32() % reach] = random.uint32() >>> 24
  }
  if (kind === 1) packet = packet.subarray(0, random.uint32() % (packet.length + 1)).slice()
  if (kind !== 2 && packet.length > 0) repair(packet)
  return packet
}

/** Gives a packet right lengths and checksums where its headers are in their usual places. */
function repair(packet: Uint8Array): void {
  const view = packetView(packet)
  if (packet[0]! >>> 4 === 4 && packet.length >= 28) {
    packet[0] = 0x45
    view.setUint16(2, packet.length)
    writeIpv4HeaderChecksum(view, 0)
    fix(view, 20, packet[9]!)
  } else if (packet[0]! >>> 4 === 6 && packet.length >= 48) {
    view.setUint16(4, packet.length - 40)
    fix(view, 40, packet[6]!)
  }
}

function fix(view: DataView, at: number, protocol: number): void {
  const length = view.byteLength - at
  if ((protocol === 6 && length >= 20) || (protocol === 17 && length >= 8) || protocol === 1 || protocol === 58) {
    writeTransportChecksum(view, 0, at, length, protocol)
  }
}

function answer(stack: NetStack, output: NonNullable<ReturnType<NetStack['poll']>>, random: Random, now: number): void {
  const chance = random.uint32() % 8
  switch (output.type) {
    case 'flow-requested':
      if (chance < 5) stack.accept(output.flow, now)
      else if (chance < 7) stack.refuse(output.flow, chance === 5 ? 'reset' : 'host-unreachable', now)
      break
    case 'flow-readable':
      stack.read(output.flow, now)
      stack.write(output.flow, new Uint8Array(3000), now)
      break
    case 'flow-ended':
      if (chance < 4) stack.shutdown(output.flow, now)
      else stack.abort(output.flow, now)
      break
    case 'datagram':
      stack.sendDatagram(output.flow, output.remote, new Uint8Array(2500), now)
      break
    case 'echo-requested':
      stack.echoReply(output, now)
      break
  }
}

/** The next segment of a peer that received this one, with data or FIN now and then. */
function replyTo(packet: Uint8Array, random: Random): Uint8Array | undefined {
  const v4 = packet[0]! >>> 4 === 4
  if (packet[v4 ? 9 : 6] !== 6) return undefined
  const view = packetView(packet)
  const at = v4 ? 20 : 40
  const flags = packet[at + 13]!
  if ((flags & TcpFlag.rst) !== 0) return undefined
  const dataBytes = packet.length - at - (packet[at + 12]! >>> 4) * 4
  const taken = dataBytes + (flags & TcpFlag.syn ? 1 : 0) + (flags & TcpFlag.fin ? 1 : 0)
  const address = (from: number): string => (v4 ? ipv4Text(packet, from) : ipv6Text(packet, from))
  const ends = {
    source: address(v4 ? 16 : 24),
    destination: address(v4 ? 12 : 8),
    sourcePort: view.getUint16(at + 2),
    destinationPort: view.getUint16(at),
  }
  const isSyn = (flags & (TcpFlag.syn | TcpFlag.ack)) === TcpFlag.syn
  const chance = random.uint32() % 16
  return tcpPacket({
    ...ends,
    flags: isSyn ? TcpFlag.syn | TcpFlag.ack : chance === 0 ? TcpFlag.fin | TcpFlag.ack : TcpFlag.ack,
    sequenceNumber: isSyn ? random.uint32() : view.getUint32(at + 8),
    acknowledgmentNumber: (view.getUint32(at + 4) + taken) >>> 0,
    payload: !isSyn && chance > 8 ? new Uint8Array(100 * chance) : new Uint8Array(0),
    ...(isSyn ? { tcpOptions: Uint8Array.of(2, 4, 5, 0xb4, 4, 2, 3, 3, 7) } : {}),
  })
}

function openSome(stack: NetStack, random: Random, now: number): void {
  const v4 = random.uint32() % 2 === 0
  stack.openTcp({ remote: { address: v4 ? far4 : far6, port: 443 } }, now)
  stack.bindUdp({ address: v4 ? inside4 : inside6 }, now)
}

function withinCaps(stack: NetStack): void {
  const stats = stack.stats()
  expect(stats.sources).toBeLessThanOrEqual(limits.maxSources!)
  expect(stats.tcpFlows + stats.udpFlows).toBeLessThanOrEqual(limits.maxFlows!)
  expect(stats.reassemblyBytes).toBeLessThanOrEqual(limits.maxReassemblyBytes!)
  // What each connection is guaranteed comes on top: two chunks a direction.
  expect(stats.bufferBytes).toBeLessThanOrEqual(limits.maxBufferBytes! + stats.tcpFlows * 4 * 8192)
}
