// The life of one TCP session as a translator sees it (RFC 6146 §3.5.2.2, as adopted by RFC 7857).
//
//               outbound SYN                    SYN from the other side
//   (nothing) ----------------> openingOutbound ----------------------> established
//             ----------------> openingInbound  ---------------------->     |
//               inbound SYN                                                 |
//     FIN of one side                    FIN of the other                   |
//   <-- established --> finOutbound/finInbound --> closing (tcpClosingTtl)  |
//     RST that belongs                                                      |
//   any ------------------> reset (tcpClosingTtl) --- anything but RST -->  |
//
// Segments outside the window change nothing here. A new SYN after `closing` or `reset` begins a fresh session at once.
import { TcpFlag, tcpFlags } from '@twinbore/core/packet'
import type { PatConfig } from './options.ts'
import type { SessionTable } from './table/session-table.ts'

export const TcpState = {
  openingOutbound: 1,
  openingInbound: 2,
  established: 3,
  /** The client's FIN was seen; its peer may go on for hours. */
  finOutbound: 4,
  finInbound: 5,
  closing: 6,
  reset: 7,
} as const

/** Directions, as the windows count them. */
export const outbound = 0
export const inbound = 1

/** Flags of segments that may change the state of an established session. */
const changing = TcpFlag.syn | TcpFlag.fin | TcpFlag.rst

/** Whether a segment may open a session: SYN alone, with whatever data. */
export function isOpening(flags: number): boolean {
  return (flags & (TcpFlag.syn | TcpFlag.ack | TcpFlag.rst | TcpFlag.fin)) === TcpFlag.syn
}

/** Begins a session with the SYN at `at`. */
export function openTcpSession(
  sessions: SessionTable,
  session: number,
  direction: number,
  view: DataView,
  at: number,
  length: number,
): void {
  sessions.setState(session, direction === outbound ? TcpState.openingOutbound : TcpState.openingInbound)
  sessions.windows.begin(session, direction, view, at, length)
}

/** Follows one segment of a session. False when it lies outside the window and changed nothing. */
export function trackTcpSegment(
  sessions: SessionTable,
  session: number,
  direction: number,
  view: DataView,
  at: number,
  length: number,
  config: PatConfig,
  now: number,
): boolean {
  const flags = tcpFlags(view, at)
  const { windows } = sessions
  let state = sessions.state(session)
  // Nearly all segments: data and acknowledgments of a connection that is open.
  if (state === TcpState.established && (flags & changing) === 0) {
    const belongs = windows.accept(session, direction, view, at, length, flags)
    // The client is the owner of its session and may keep it; whoever is outside may not.
    if (belongs || direction === outbound) sessions.expireAt(session, now + config.tcpEstablishedTtlMs, now)
    return belongs
  }
  if (isOpening(flags) && mayBeginAnew(sessions, session, state, direction, view, at)) {
    // A repeated SYN may come without the data of the first (RFC 7413 §4.1.3), which still can be acknowledged.
    const repeated = isOpeningState(state) && windows.repeatsOpening(session, direction, view, at)
    if (!repeated) openTcpSession(sessions, session, direction, view, at, length)
    sessions.expireAt(session, now + config.tcpOpeningTtlMs, now)
    return true
  }
  if (!windows.accept(session, direction, view, at, length, flags)) {
    if (direction === outbound && isIdleClass(state)) sessions.expireAt(session, now + config.tcpEstablishedTtlMs, now)
    return false
  }
  const before = state
  state = next(state, flags, direction)
  if (state !== before) sessions.setState(session, state)
  switch (state) {
    case TcpState.openingOutbound:
    case TcpState.openingInbound:
      // Only the SYN of the side that opens keeps a half-open session, see above.
      break
    case TcpState.established:
    case TcpState.finOutbound:
    case TcpState.finInbound:
      sessions.expireAt(session, now + config.tcpEstablishedTtlMs, now)
      break
    default:
      // The last four minutes are counted from the change, not from the last packet.
      if (state !== before) sessions.expireAt(session, now + config.tcpClosingTtlMs, now)
  }
  return true
}

/** Whether a SYN replaces what is there: a session that waits for its end, or an opening that nobody has answered. */
function mayBeginAnew(
  sessions: SessionTable,
  session: number,
  state: number,
  direction: number,
  view: DataView,
  at: number,
): boolean {
  switch (state) {
    case TcpState.openingOutbound:
      return direction === outbound
    case TcpState.openingInbound:
      return direction === inbound
    case TcpState.closing:
    case TcpState.reset:
      // RFC 9293 §3.10.7.4: from outside only when it can't be an old duplicate.
      return direction === outbound || sessions.windows.isBeyond(session, direction, view, at)
    default:
      return false
  }
}

function isOpeningState(state: number): boolean {
  return state === TcpState.openingOutbound || state === TcpState.openingInbound
}

function isIdleClass(state: number): boolean {
  return state === TcpState.established || state === TcpState.finOutbound || state === TcpState.finInbound
}

function next(state: number, flags: number, direction: number): number {
  switch (state) {
    case TcpState.openingOutbound:
      return direction === inbound && (flags & TcpFlag.syn) !== 0 ? TcpState.established : state
    case TcpState.openingInbound:
      return direction === outbound && (flags & TcpFlag.syn) !== 0 ? TcpState.established : state
    case TcpState.closing:
      return state
    case TcpState.reset:
      return (flags & TcpFlag.rst) !== 0 ? state : TcpState.established
    default:
      if ((flags & TcpFlag.rst) !== 0) return TcpState.reset
      if ((flags & TcpFlag.fin) === 0) return state
      if (direction === outbound) return state === TcpState.finInbound ? TcpState.closing : TcpState.finOutbound
      return state === TcpState.finOutbound ? TcpState.closing : TcpState.finInbound
  }
}
