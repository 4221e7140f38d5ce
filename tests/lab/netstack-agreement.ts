// What it means that two stacks answer alike, and where they may differ: each allowance names the rule that gives room.
import { TcpFlag } from '@twinbore/core/packet'
import type { Answer } from './netstack-peer.ts'
import type { Conversation, SegmentStep, Step } from './netstack-trace.ts'

export type Verdict = 'equal' | { readonly allowed: string } | { readonly problem: string }

type Range = readonly [number, number]

/** What is known of a conversation: what arrived, as far as Linux reported it, and who ended what. */
export class Knowledge {
  readonly talk: Conversation
  appEnded = false
  /** How many ranges there were at once behind a gap. */
  mostRanges = 0
  private arrived: Range[] = []
  private fin = Number.POSITIVE_INFINITY
  private acknowledged = 0
  /** Timestamps of what had to be refused. */
  private readonly refused = new Set<number>()

  constructor(talk: Conversation) {
    this.talk = talk
  }

  /** Whether our FIN arrived, and all before it. */
  get peerEnded(): boolean {
    return this.acknowledged > this.fin
  }

  /** Whether both sides ended: CLOSING, LAST-ACK, TIME-WAIT or nothing is left. */
  get over(): boolean {
    return this.appEnded && this.peerEnded
  }

  /** Parts of a range that arrived before. */
  duplicates(at: number, end: number): Range[] {
    return this.arrived.flatMap(([from, to]): Range[] => {
      const part: Range = [Math.max(from, at), Math.min(to, end)]
      return part[0] < part[1] ? [part] : []
    })
  }

  /**
   * Whether ours echoes the timestamp of a segment that had to be refused, or another one than Linux for data that came in
   * order. RFC 7323 §4.3 counts every acceptable segment; Linux leaves out those with an old ACK.
   */
  echoesWrongly(step: Step | undefined, linux: readonly Answer[], ours: readonly Answer[]): boolean {
    if (step?.kind !== 'segment') return false
    if (step.refused) this.refused.add(step.timestamp)
    const [theirs, own] = [linux.at(-1), ours.at(-1)]
    if (theirs?.flags !== 'A' || own?.flags !== 'A') return false
    if (this.refused.has(own.echo)) return true
    return step.ack === 0 && theirs.ack > this.acknowledged && theirs.echo !== own.echo
  }

  /** Whether all of a range arrived, counting `also`. */
  hasAll(from: number, to: number, also: Range): boolean {
    const parts = [...this.duplicates(from, to), also].sort((a, b) => a[0] - b[0])
    for (const part of parts) if (part[0] <= from) from = Math.max(from, part[1])
    return from >= to
  }

  learn(step: Step | undefined, answers: readonly Answer[]): void {
    if (step?.kind === 'app-end') this.appEnded = true
    if (step?.kind === 'segment' && step.name.startsWith('FIN')) this.fin = step.at + step.length
    for (const { flags, ack, sack } of answers) {
      if (flags.includes('R')) continue
      this.acknowledged = ack
      this.add([0, ack])
      for (const block of sack) this.add(rangeOf(block))
      this.mostRanges = Math.max(this.mostRanges, this.arrived.filter(([from]) => from > ack).length)
    }
  }

  private add(range: Range): void {
    if (range[1] <= Math.max(0, range[0])) return
    const apart = this.arrived.filter(([from, to]) => to < range[0] || from > range[1])
    const joined = [range, ...this.arrived.filter(one => !apart.includes(one))]
    this.arrived = [...apart, [Math.min(...joined.map(([from]) => from)), Math.max(...joined.map(([, to]) => to))]]
  }
}

/** Compares what both answered to one step; without a step it was the SYN. */
export function compare(
  knowledge: Knowledge,
  step: Step | undefined,
  linux: readonly Answer[],
  ours: readonly Answer[],
): Verdict {
  const verdict = judge(knowledge, step, linux, ours)
  knowledge.learn(step, linux)
  return verdict
}

function judge(
  knowledge: Knowledge,
  step: Step | undefined,
  linux: readonly Answer[],
  ours: readonly Answer[],
): Verdict {
  const problem = step?.name ?? 'SYN'
  if (knowledge.echoesWrongly(step, linux, ours)) return { problem: `timestamp: ${problem}` }
  if (text(linux) === text(ours)) return 'equal'
  if (!step) return { problem }
  const [theirs, own] = [linux[0], ours[0]]
  if (theirs && own && linux.length === 1 && ours.length === 1) {
    if (step.kind === 'segment' && agreeButForDuplicates(theirs, own)) {
      const rule = ruleForDuplicates(step, theirs, own, knowledge)
      if (rule) return { allowed: rule }
    }
    if (remembersMore(step, theirs, own, knowledge)) return { allowed: 'ranges that Linux forgot' }
  }
  if (step.kind !== 'segment') return { problem }
  for (const [rule, applies] of Object.entries(allowances)) {
    if (applies(step, linux, ours, knowledge)) return { allowed: rule }
  }
  return { problem }
}

/** Equal in all but which duplicates are reported. A report may take the place of the last block. */
function agreeButForDuplicates(linux: Answer, ours: Answer): boolean {
  if (text([{ ...linux, sack: [] }]) !== text([{ ...ours, sack: [] }])) return false
  const [here, there] = [blocksOf(linux), blocksOf(ours)]
  const common = Math.min(here.length, there.length)
  if (here.slice(0, common).join() !== there.slice(0, common).join()) return false
  // The longer list has no room that the shorter one had left.
  const [shorter, longer] = here.length <= there.length ? [linux, there] : [ours, here]
  return longer.length === common || shorter.sack.length >= longer.length
}

/** Why two reports of duplicates may differ, if they may. */
function ruleForDuplicates(step: SegmentStep, linux: Answer, ours: Answer, knowledge: Knowledge): string | undefined {
  const end = step.at + step.length
  const duplicates = knowledge.duplicates(step.at, end)
  const known = duplicates.reduce((sum, [from, to]) => sum + to - from, 0)
  const reported = duplicateOf(ours)
  // Ours is never untrue, except that it may count a FIN that came again.
  if (reported && !(reported[0] === end && reported[1] === end + 1)) {
    if (!duplicates.some(([from, to]) => from <= reported[0] && reported[1] <= to)) return undefined
  }
  // RFC 2883 §4 is about data: neither a FIN nor what was never part of the stream is a duplicate of any.
  if (known === 0) return 'a report of a duplicate that is none'
  // Whether the FIN in a segment that came again counts.
  const theirs = duplicateOf(linux)
  if (step.flags & TcpFlag.fin && reported && theirs?.[0] === reported[0] && Math.abs(theirs[1] - reported[1]) === 1) {
    return 'the FIN of a duplicate'
  }
  // RFC 2883 §4.2 shows reports of parts that came twice; one that is not sent takes nothing from the sender's recovery.
  if (known < step.length) return 'a segment that was a duplicate in part'
  // A connection of which only TIME-WAIT is left reports nothing in Linux.
  if (knowledge.over && !duplicateOf(linux)) return 'a duplicate in TIME-WAIT'
  return undefined
}

/**
 * Linux remembers four ranges to report, and of a range that it forgot it reports only what comes anew. Ours remembers
 * them all: what it says is true, and holds what Linux says.
 */
function remembersMore(step: Step, linux: Answer, ours: Answer, knowledge: Knowledge): boolean {
  if (knowledge.mostRanges <= 4 || text([{ ...linux, sack: [] }]) !== text([{ ...ours, sack: [] }])) return false
  const [here, there] = [blocksOf(linux).map(rangeOf), blocksOf(ours).map(rangeOf)]
  const fin = step.kind === 'segment' && step.flags & TcpFlag.fin ? 1 : 0
  const news: Range = step.kind === 'segment' ? [step.at, step.at + step.length + fin] : [0, 0]
  const isTrue = there.every(([from, to]) => knowledge.hasAll(from, to, news))
  const isFull = ours.sack.length >= (knowledge.talk.syn.timestamps ? 3 : 4)
  return isTrue && (isFull || here.every(([from, to]) => there.some(block => block[0] <= from && to <= block[1])))
}

type Allowance = (step: SegmentStep, linux: readonly Answer[], ours: readonly Answer[], knowledge: Knowledge) => boolean

/** After this the two are in different states, and the conversation has no more to tell. */
export const lastAckRule = 'what is old brings the last ACK'

const allowances: Readonly<Record<string, Allowance>> = {
  // A connection that both sides ended, and whose data nobody read yet, is over for the kernel. Ours keeps its place until
  // the application took the data, and is silent.
  'a closed connection that holds unread data is silent': (_step, linux, ours, { over }) =>
    over && linux.length === 1 && /R|SA/.test(linux[0]!.flags) && ours.length === 0,
  // The same in TIME-WAIT: RFC 9293 §3.10.7.4 says that a new SYN MAY be taken.
  'TIME-WAIT with unread data is not taken over': (_step, linux, ours, { over }) =>
    over && linux.length === 1 && linux[0]!.flags === 'SA' && isAck(ours),
  // RFC 9293 §3.10.7.4: the sequence number is checked first, and answered, and only then the ACK bit. Linux looks for the
  // bit first. Without a connection, a closed port answers with RST (§3.10.7.1) and a listening one not at all (§3.10.7.2).
  'a segment without ACK': (step, linux, ours) =>
    step.name === 'no ACK flag' && linux.length === 0 && ours.length === 1 && /^R?A$/.test(ours[0]!.flags),
  // RFC 9293 §3.10.7.4, seventh: "Ignore the segment text". Ours says what it has, Linux says nothing.
  'data behind the FIN': (step, linux, ours, { peerEnded }) =>
    peerEnded && step.length > 0 && linux.length === 0 && isAck(ours) && step.at >= ours[0]!.ack,
  // RFC 9293 §3.10.7.4, first: what is old is answered and counts no further. Linux takes the acknowledgement of its FIN out of
  // a segment that ends where the stream does, and the connection is over.
  [lastAckRule]: (step, linux, ours, { over }) =>
    over && (step.flags & TcpFlag.ack) !== 0 && linux.length === 0 && isAck(ours) && step.at < ours[0]!.ack,
  // Linux has no window in TIME-WAIT: it acknowledges all but RST, and checks nothing else.
  'what is neither FIN nor SYN in TIME-WAIT': (step, linux, ours, { over }) =>
    over &&
    (step.flags & (TcpFlag.fin | TcpFlag.syn)) === 0 &&
    ((isAck(linux) && ours.length === 0) || (linux.length === 0 && isAck(ours))),
  // RFC 7323 §5.3 R1 asks for the acknowledgement. Linux leaves it out for an old pure ACK.
  'an old timestamp without data': (step, linux, ours) =>
    step.name === 'old timestamp alone' && linux.length === 0 && isAck(ours),
  // RFC 5961 §5.2: old is what lies behind the largest window that the peer had. Linux also asks that so much was sent.
  'an old ACK within the largest window': (step, linux, ours, { talk }) =>
    /^(ACK from long ago|old ACK)/.test(step.name) &&
    isAck(linux) &&
    ours.length === 0 &&
    -step.ack <= 65_535 * 2 ** (talk.syn.windowScale ?? 0),
}

function isAck(answers: readonly Answer[]): boolean {
  return answers.length === 1 && answers[0]!.flags === 'A'
}

/** The block that reports a duplicate: below what is acknowledged, or inside the block that follows it (RFC 2883 §4). */
function duplicateOf(answer: Answer): Range | undefined {
  if (answer.sack.length === 0) return undefined
  const [first, second] = answer.sack.slice(0, 2).map(rangeOf)
  if (first![1] <= answer.ack) return first
  return second && second[0] <= first![0] && first![1] <= second[1] ? first : undefined
}

/** What an answer says about data behind what is acknowledged. */
function blocksOf(answer: Answer): string[] {
  const blocks = duplicateOf(answer) ? answer.sack.slice(1) : answer.sack
  return blocks.filter(block => rangeOf(block)[1] > answer.ack)
}

function rangeOf(block: string): Range {
  const [, from, to] = /^(-?\d+)-(-?\d+)$/.exec(block)!
  return [Number(from), Number(to)]
}

/** Answers in one line. */
export function text(answers: readonly Answer[]): string {
  return answers.map(one).join(', ') || 'nothing'
}

function one({ flags, at, ack, length, sack: blocks, kinds }: Answer): string {
  // A RST of Linux may carry blocks that nobody will look at.
  const sack = flags.includes('R') ? [] : blocks
  const data = length > 0 ? ` +${length}` : ''
  const options = flags.includes('S') ? ` options ${kinds.join(',')}` : ''
  return `${flags} ${at}${data} ack ${ack}${sack.length > 0 ? ` sack ${sack.join(' ')}` : ''}${options}`
}
