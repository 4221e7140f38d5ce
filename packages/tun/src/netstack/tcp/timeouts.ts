import type { ControlBlock } from './control-block.ts'
import { fail } from './segment-arrives.ts'

/** When something is due next; Infinity when nothing is. */
export function nextDeadline(tcb: ControlBlock): number {
  return Math.min(tcb.sender.deadline, tcb.synAt, tcb.idleAt, tcb.timeWaitAt)
}

/** Handles what is due at `now`. */
export function handleTimeouts(tcb: ControlBlock, now: number): void {
  if (now >= tcb.synAt) repeatSyn(tcb, now)
  if (now >= tcb.sender.deadline && tcb.sender.handleDeadline(now, tcb.heardAt, tcb.config)) giveUp(tcb)
  if (now >= tcb.idleAt) probeIdlePeer(tcb, now)
  if (now >= tcb.timeWaitAt) tcb.close()
}

function repeatSyn(tcb: ControlBlock, now: number): void {
  const { config } = tcb
  if (tcb.synSent > config.synRetries || now - tcb.synStartedAt >= config.giveUpMs) {
    fail(tcb, 'timed-out')
    return
  }
  tcb.synOwed = true
  // In case nobody takes it: asked for again after the same time.
  tcb.synAt = now + Math.min(config.maxRtoMs, config.initialRtoMs * 2 ** tcb.synSent)
}

/** The peer gets a RST, should it come back (RFC 9293 §3.8.3). */
function giveUp(tcb: ControlBlock): void {
  tcb.resetOwed = true
  fail(tcb, 'timed-out')
}

/** RFC 9293 §3.8.4: a silent peer is asked whether it is there, and the connection ends when it never answers. */
function probeIdlePeer(tcb: ControlBlock, now: number): void {
  const { config } = tcb
  const silentMs = now - tcb.heardAt
  if (silentMs < config.idleMs) {
    tcb.idleProbes = 0
    tcb.idleAt = tcb.heardAt + config.idleMs
    return
  }
  if (tcb.idleProbes >= config.idleProbes) {
    giveUp(tcb)
    return
  }
  tcb.idleProbes++
  tcb.idleProbeOwed = true
  tcb.idleAt = now + config.idleProbeMs
}
