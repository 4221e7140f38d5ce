// A process with a NetStack behind a kernel TUN, for tests, run in a network namespace.
//
//   netstack-host.ts DEVICE gateway     a host at every address: port 7 echoes, ports 9 to 13 refuse in five ways
//   netstack-host.ts DEVICE client      a host with own addresses; lines of JSON on standard input tell it what to do
import { createHash, randomFillSync, randomInt } from 'node:crypto'
import { createInterface } from 'node:readline'
import { PacketBatch } from '@twinbore/core/packet'
import { openTun, sequenceHash } from '../../src/io/index.ts'
import { NetStack, type NetStackOutput, type RefuseReason } from '../../src/netstack/index.ts'

const [, , name, mode] = process.argv
const device = openTun({ name: name!, mtu: 1400, addresses: ['10.88.0.1/24', 'fd88::1/64'] })
const stack = new NetStack({
  random: { fill: bytes => randomFillSync(bytes), uint32: () => randomInt(0, 2 ** 32) },
  keyedHash: sequenceHash(),
  addresses: ['10.88.0.2', 'fd88::2'],
  acceptAnyDestination: mode === 'gateway',
})
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`)
const batch = new PacketBatch()
const refusals: Record<number, RefuseReason> = {
  9: 'reset',
  10: 'host-unreachable',
  11: 'net-unreachable',
  12: 'admin-prohibited',
  13: 'port-unreachable',
}
let timer: NodeJS.Timeout | undefined

device.onReadable = () => {
  batch.reset()
  device.read(batch)
  stack.handlePackets(batch, performance.now())
  settle()
}

/** Answers what the stack says, sends what it wants to send, and sleeps until it wants to be called. */
function settle(): void {
  const now = performance.now()
  do {
    for (let output = stack.poll(); output; output = stack.poll()) handle(output, now)
    batch.reset()
    stack.drain(batch, now)
    device.write(batch)
  } while (stack.wantsToSend)
  clearTimeout(timer)
  if (stack.deadline === undefined) return
  timer = setTimeout(
    () => {
      stack.handleDeadline(performance.now())
      settle()
    },
    Math.max(1, stack.deadline - now),
  )
}

const handle = mode === 'gateway' ? echo : fetchOn

/** Bytes that came and could not be sent back yet, and whether an end follows them. */
const pending = new Map<number, { bytes: Uint8Array[]; ended: boolean }>()

function echo(output: NetStackOutput, now: number): void {
  switch (output.type) {
    case 'flow-requested': {
      const reason = refusals[output.destination.port]
      if (reason) stack.refuse(output.flow, reason, now)
      else {
        stack.accept(output.flow, now)
        pending.set(output.flow, { bytes: [], ended: false })
      }
      break
    }
    case 'flow-readable':
    case 'flow-writable':
      pass(output.flow, now)
      break
    case 'flow-ended':
      pending.get(output.flow)!.ended = true
      pass(output.flow, now)
      break
    case 'flow-closed':
      pending.delete(output.flow)
      break
    case 'datagram':
      stack.sendDatagram(output.flow, output.remote, output.bytes, now)
      break
    case 'echo-requested':
      stack.echoReply(output, now)
      break
  }
}

/** Reads only what can be written, so that the window holds the sender back. */
function pass(flow: number, now: number): void {
  const one = pending.get(flow)
  if (!one) return
  for (;;) {
    const bytes = one.bytes.shift() ?? stack.read(flow, now)
    if (!bytes) break
    const taken = stack.write(flow, bytes, now)
    if (taken === bytes.length) continue
    one.bytes.unshift(bytes.subarray(taken))
    return
  }
  if (one.ended) stack.shutdown(flow, now)
}

// The client.

interface Fetch {
  bytes: Uint8Array
  sent: number
  received: number
  readonly hash: ReturnType<typeof createHash>
}
const fetches = new Map<number, Fetch>()

function fetchOn(output: NetStackOutput, now: number): void {
  if (output.type === 'echo-replied' || output.type === 'icmp-error') say(output)
  if (!('flow' in output)) return
  const one = fetches.get(output.flow)
  if (!one) return
  switch (output.type) {
    case 'flow-established':
    case 'flow-writable':
      one.sent += stack.write(output.flow, one.bytes.subarray(one.sent), now)
      if (one.sent === one.bytes.length) stack.shutdown(output.flow, now)
      break
    case 'flow-readable':
      for (let bytes = stack.read(output.flow, now); bytes; bytes = stack.read(output.flow, now)) {
        one.received += bytes.length
        one.hash.update(bytes)
      }
      break
    case 'flow-reset':
      say({ reset: output.reason })
      break
    case 'flow-closed': {
      const sent = createHash('sha256').update(one.bytes).digest('hex')
      say({ received: one.received, same: sent === one.hash.digest('hex') })
      fetches.delete(output.flow)
      break
    }
  }
}

const input = createInterface({ input: process.stdin })
input.on('line', line => {
  const order = JSON.parse(line) as { connect?: string; ping?: string; datagram?: string; port: number; bytes: number }
  const now = performance.now()
  if (order.connect) {
    const flow = stack.openTcp({ remote: { address: order.connect, port: order.port } }, now)
    const bytes = randomFillSync(new Uint8Array(order.bytes))
    fetches.set(flow, { bytes, sent: 0, received: 0, hash: createHash('sha256') })
  }
  const own = (address: string): string => (address.includes(':') ? 'fd88::2' : '10.88.0.2')
  if (order.ping) {
    const payload = new Uint8Array(order.bytes)
    stack.sendEcho({ source: own(order.ping), destination: order.ping, identifier: 7, sequenceNumber: 1, payload }, now)
  }
  if (order.datagram) {
    const flow = stack.bindUdp({ address: own(order.datagram) }, now)
    stack.sendDatagram(flow, { address: order.datagram, port: order.port }, new Uint8Array(order.bytes), now)
  }
  settle()
})
say({ ready: device.name })
