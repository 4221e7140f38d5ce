// Has the same conversations with the kernel's TCP and with ours, and prints where they disagree; run in a network
// namespace that `netstack-differential.test.ts` prepared.
//
//   netstack-differential.ts DEVICE FIRST_SEED COUNT [verbose]
import { once } from 'node:events'
import { TcpFlag } from '@twinbore/core/packet'
import { openTun } from '@twinbore/tun/io'
import { compare, Knowledge, lastAckRule, text } from './netstack-agreement.ts'
import { type Answer, ConversationPeer, type Ends, streamByte } from './netstack-peer.ts'
import { KernelHost, KernelSubject, StackSubject, type Subject } from './netstack-subjects.ts'
import {
  type Conversation,
  conversation,
  describeConversation,
  describeStep,
  type SegmentStep,
  type Step,
} from './netstack-trace.ts'

const [, , name, first, count, verbose] = process.argv
const hostPort = 7000
const device = openTun({ name: name!, mtu: 1500, addresses: ['10.77.0.1/16', 'fd77::1/64'] })
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`)

/** One side of a conversation: who is asked, and the peer that asks. */
interface Side {
  readonly subject: Subject
  readonly peer: ConversationPeer
}

const bare: SegmentStep = {
  kind: 'segment',
  name: 'probe',
  at: -1,
  length: 0,
  flags: TcpFlag.ack,
  ack: 0,
  window: 65_535,
  timestamp: 0,
  badChecksum: false,
  refused: false,
  oddOptions: false,
}

let steps = 0
const allowed: Record<string, number> = {}

async function run(host: KernelHost, talk: Conversation): Promise<string | undefined> {
  const peerPort = 10_000 + (talk.seed % 50_000)
  // Ports come round again, addresses do not.
  const lot = 2 + (Math.floor(talk.seed / 50_000) % 60_000)
  const ends: Ends =
    talk.family === 4
      ? { peer: `10.77.${1 + (lot >> 8)}.${lot & 255}`, host: '10.77.0.1', peerPort, hostPort }
      : { peer: `fd77::${(lot + 1).toString(16)}:2`, host: 'fd77::1', peerPort, hostPort }
  const linux: Side = { subject: new KernelSubject(host, peerPort, talk.reads), peer: new ConversationPeer(talk, ends) }
  const ours: Side = { subject: new StackSubject(talk.seed, talk.reads), peer: new ConversationPeer(talk, ends) }
  const knowledge = new Knowledge(talk)
  const lines: string[] = []
  let parted = false
  const judge = (label: string, step: Step | undefined, answers: [Answer[], Answer[]]): string | undefined => {
    steps++
    const verdict = compare(knowledge, step, ...answers)
    lines.push(`${label}\n      Linux ${text(answers[0])}\n      ours  ${text(answers[1])}`)
    if (verdict === 'equal') return undefined
    if ('allowed' in verdict) {
      parted ||= verdict.allowed === lastAckRule
      allowed[verdict.allowed] = (allowed[verdict.allowed] ?? 0) + 1
      return undefined
    }
    return `${verdict.problem}\n${lines.join('\n')}`
  }
  try {
    let problem = judge(
      'SYN',
      undefined,
      both([linux, ours], side => send(side, side.peer.syn(900))),
    )
    if (problem) return problem
    for (const side of [linux, ours]) {
      send(side, side.peer.segment({ ...bare, at: 0, timestamp: 910 }))
      await side.subject.begin()
      const trouble = await greet(side, talk)
      if (trouble) return `${side.subject.name}: ${trouble}`
    }
    let latest = 1000
    for (const [i, burst] of talk.bursts.entries()) {
      for (const step of burst) {
        if (step.kind === 'segment') latest = Math.max(latest, step.timestamp)
        const answers: [Answer[], Answer[]] = [await take(linux, step), await take(ours, step)]
        await late(linux, answers)
        problem = judge(describeStep(step), step, answers)
        if (problem) return problem
        // The connection was gone and another one begins.
        if (parted || answers[0].some(({ flags }) => flags === 'SA')) return undefined
      }
      for (const side of [linux, ours]) await side.subject.settle()
      const probe = { ...bare, timestamp: latest + 5 }
      problem = judge(
        `end of burst ${i}`,
        probe,
        both([linux, ours], side => send(side, side.peer.segment(probe))),
      )
      if (problem) return problem
    }
    for (const { subject } of [linux, ours]) {
      const wrong = subject.received.findIndex((byte, i) => byte !== streamByte(i))
      if (wrong !== -1) return `${subject.name}: byte ${wrong} that was read is wrong`
    }
    return undefined
  } finally {
    linux.subject.close()
  }
}

function both(sides: [Side, Side], act: (side: Side) => Answer[]): [Answer[], Answer[]] {
  return [act(sides[0]), act(sides[1])]
}

/** A kernel that is busy answers a moment later. */
async function late(linux: Side, answers: [Answer[], Answer[]]): Promise<void> {
  if (answers[0].length > 0 || answers[1].length === 0) return
  answers[0].push(...(await linux.subject.more(50)).map(packet => linux.peer.read(packet)))
}

function send({ subject, peer }: Side, packet: Uint8Array): Answer[] {
  return subject.send(packet).map(answer => peer.read(answer))
}

async function take(side: Side, step: Step): Promise<Answer[]> {
  if (step.kind === 'segment') return send(side, side.peer.segment(step))
  const packets = await (step.kind === 'app-end' ? side.subject.end() : side.subject.abort())
  return packets.map(packet => side.peer.read(packet))
}

/** The application writes its greeting, and every piece of it is acknowledged. */
async function greet(side: Side, talk: Conversation): Promise<string | undefined> {
  if (talk.greeting === 0) return undefined
  const greeting = Uint8Array.from({ length: talk.greeting }, (_, i) => (i * 13) & 0xff)
  // Without the option the default holds (RFC 9293 §3.7.1); timestamps take from it (RFC 6691).
  const mss = (talk.syn.mss ?? (talk.family === 4 ? 536 : 1220)) - (talk.syn.timestamps ? 12 : 0)
  let arrived = 0
  let packets = await side.subject.write(greeting)
  while (arrived < talk.greeting) {
    if (packets.length === 0) packets = await side.subject.more()
    if (packets.length === 0) return `the greeting stopped at ${arrived} of ${talk.greeting}`
    for (const packet of packets) {
      const { at, length, payload } = side.peer.read(packet)
      if (length > mss) return `a segment of ${length} bytes for an MSS that allows ${mss}`
      if (payload.some((byte, i) => byte !== greeting[at + i])) return `wrong bytes from ${at} on`
      if (at <= arrived) arrived = Math.max(arrived, at + length)
    }
    const known = side.peer.theirNext
    packets = side.subject.send(side.peer.segment({ ...bare, at: 0, ack: arrived - known, timestamp: 920 }))
  }
  return undefined
}

const host = await KernelHost.listen(device, hostPort)
say({ ready: device.name })
await once(process.stdin, 'data')
const failures: number[] = []
for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
  const talk = conversation(seed)
  let problem: string | undefined
  try {
    problem = await run(host, talk)
  } catch (error) {
    problem = (error as Error).stack
  }
  if (problem === undefined) continue
  failures.push(seed)
  if (failures.length <= 40 || verbose) {
    say({ seed, problem: problem.split('\n')[0], trace: `${describeConversation(talk)}\n---\n${problem}` })
  }
}
say({ done: { seeds: Number(count), steps, failures, allowed } })
host.close()
device.close()
process.exit(0)
