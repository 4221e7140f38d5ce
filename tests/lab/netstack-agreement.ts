// What it means that two stacks answer alike, and where they may differ: each allowance names the rule that gives room.
import type { Answer } from './netstack-peer.ts'
import type { Conversation, SegmentStep, Step } from './netstack-trace.ts'

export type Verdict = 'equal' | { readonly allowed: string } | { readonly problem: string }

type Range = readonly [number, number]

/** What is known of a conversation: what arrived, as far as Linux reported it. */
export class Knowledge {
  readonly talk: Conversation
  private arrived: Range[] = []

  constructor(talk: Conversation) {
    this.talk = talk
  }

  /** Parts of a range that arrived before. */
  duplicates(at: number, end: number): Range[] {
    return this.arrived.flatMap(([from, to]): Range[] => {
      const part: Range = [Math.max(from, at), Math.min(to, end)]
      return part[0] < part[1] ? [part] : []
    })
  }

  learn(answers: readonly Answer[]): void {
    for (const { flags, ack, sack } of answers) {
      if (flags.includes('R')) continue
      this.add([0, ack])
      for (const block of sack) this.add(rangeOf(block))
    }
  }

  private add(range: Range): void {
    if (range[1] <= range[0]) return
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
  knowledge.learn(linux)
  return verdict
}

function judge(
  knowledge: Knowledge,
  step: Step | undefined,
  linux: readonly Answer[],
  ours: readonly Answer[],
): Verdict {
  if (text(linux) === text(ours)) return 'equal'
  if (step?.kind === 'segment') {
    for (const [rule, applies] of Object.entries(allowances)) {
      if (applies(step, linux, ours, knowledge)) return { allowed: rule }
    }
  }
  return { problem: step?.name ?? 'SYN' }
}

type Allowance = (step: SegmentStep, linux: readonly Answer[], ours: readonly Answer[], knowledge: Knowledge) => boolean

const allowances: Readonly<Record<string, Allowance>> = {
  // RFC 2883 §4: what was never part of the stream is no duplicate of anything. Linux reports it all the same.
  'data from before the stream is not reported as a duplicate': (step, linux, ours) =>
    step.at < 0 && text(linux.map(withoutDuplicate)) === text(ours),
  // Linux also reports what came once, when a FIN leaves its queue, and a FIN that came again, which is no data.
  'only Linux reports a duplicate where there is none': (step, linux, ours, knowledge) =>
    knowledge.duplicates(step.at, step.at + step.length).length === 0 &&
    !duplicateOf(ours[0]) &&
    text(linux.map(withoutDuplicate)) === text(ours),
  // A connection that both sides ended, and whose data nobody read yet, is over for the kernel. Ours keeps its place until
  // the application took the data, and is silent.
  'a closed connection that holds unread data is silent': (_step, linux, ours, { talk }) =>
    !talk.reads && linux.length === 1 && linux[0]!.flags.startsWith('R') && ours.length === 0,
  // RFC 9293 §3.10.7.4: the sequence number is checked first, and answered, and only then the ACK bit. Linux looks for the
  // bit first. Without a connection, a closed port answers with RST (§3.10.7.1) and a listening one not at all (§3.10.7.2).
  'a segment without ACK': (step, linux, ours) =>
    step.name === 'no ACK flag' && linux.length === 0 && ours.length === 1 && /^R?A$/.test(ours[0]!.flags),
  // RFC 2883 §4.2 shows reports of parts that came twice; one that is not sent takes nothing from the sender's recovery.
  'a segment that was a duplicate in part is not reported as one': (step, linux, ours, knowledge) => {
    const duplicates = knowledge.duplicates(step.at, step.at + step.length)
    const known = duplicates.reduce((sum, [from, to]) => sum + to - from, 0)
    if (known === 0 || known >= step.length) return false
    const reported = duplicateOf(ours[0])
    const isTrue = !reported || duplicates.some(([from, to]) => from <= reported[0] && reported[1] <= to)
    return isTrue && text(linux.map(withoutDuplicate)) === text(ours.map(withoutDuplicate))
  },
}

/** The block that reports a duplicate: below what is acknowledged, or inside the block that follows it (RFC 2883 §4). */
function duplicateOf(answer: Answer | undefined): Range | undefined {
  if (!answer || answer.sack.length === 0) return undefined
  const [first, second] = answer.sack.slice(0, 2).map(rangeOf)
  if (first![1] <= answer.ack) return first
  return second && second[0] <= first![0] && first![1] <= second[1] ? first : undefined
}

function withoutDuplicate(answer: Answer): Answer {
  return duplicateOf(answer) ? { ...answer, sack: answer.sack.slice(1) } : answer
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
