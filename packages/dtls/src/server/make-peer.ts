import type { AssociationSnapshot } from '../association-snapshot.ts'
import { copyBytes } from '../copy-bytes.ts'
import type { Counters } from '../counters.ts'
import type { ServerConfig } from '../options.ts'
import { PeerState } from '../peer-state.ts'
import type { AdmittedHello } from './hello-gate.ts'
import type { Peer } from './peer-table.ts'

/** A peer whose handshake begins with a hello. */
export function peerOfHello(config: ServerConfig, counters: Counters, admitted: AdmittedHello, endpoint: number): Peer {
  const { sessionId, random } = admitted.hello
  return {
    state: new PeerState(config, counters, admitted),
    endpoint,
    host: config.hostOf(endpoint),
    association: -1,
    sessionId: copyBytes(sessionId),
    session: sessionName(sessionId),
    random: copyBytes(random),
  }
}

/** A peer that is established from the start. @throws RangeError or TypeError naming the field that is wrong */
export function peerOfSnapshot(
  config: ServerConfig,
  counters: Counters,
  snapshot: AssociationSnapshot,
  endpoint: number,
): Peer {
  const state = new PeerState(config, counters)
  state.revive(snapshot, config.sequences, 2 * snapshot.association)
  const { sessionId } = state.negotiated!
  return {
    state,
    endpoint,
    host: config.hostOf(endpoint),
    association: -1,
    sessionId,
    session: sessionName(sessionId),
    random: copyBytes(snapshot.clientRandom),
  }
}

/** A session id as text, in one piece: text that is put together by `+` keeps all its pieces. */
export function sessionName(sessionId: Uint8Array): string {
  return Array.from(sessionId, byte => byte.toString(16).padStart(2, '0')).join('')
}
