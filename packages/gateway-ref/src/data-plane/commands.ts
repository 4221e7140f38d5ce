import type { FrameType } from '@twinbore/core'
import type { AssociationSnapshot } from '@twinbore/dtls'
import type { PlanePermission } from './permitted-destinations.ts'
import type { SessionRate } from './rate-limits.ts'
import type { Carrier, SessionEntry } from './session-table.ts'

/** Which destinations clients may not reach, as text: prefixes and addresses. What it means is in `denied-destinations.ts`. */
export interface DestinationPolicy {
  readonly pools: readonly string[]
  readonly ownAddresses: readonly string[]
  readonly allowed: readonly string[]
}

/**
 * What a control plane tells a data plane. Plain values that survive a structured clone, so that the other side may be
 * another thread. Sessions are numbered by the control plane, from 0 to the capacity; a number is free again once the data
 * plane has said `session-removed`. Associations are numbered by the data plane.
 *
 * Nothing is answered; what follows is told as a `PlaneEvent`. A command about something that is gone is ignored: it may
 * have crossed the event that says so.
 */
export type PlaneCommand =
  | {
      readonly type: 'install-session'
      readonly session: number
      readonly entry: SessionEntry
      /** It was installed in a data plane that is gone: its traffic goes on counting. @defaultValue false */
      readonly isRestored?: boolean
    }
  /** Its association is closed, its App-ID forgotten. */
  | { readonly type: 'remove-session'; readonly session: number }
  /** Which channel carries packets to the client. */
  | { readonly type: 'set-carrier'; readonly session: number; readonly carrier: Carrier }
  /** The longest packet towards the client. */
  | { readonly type: 'set-mtu'; readonly session: number; readonly mtu: number }
  /** What a session may send and get, from now on. */
  | { readonly type: 'set-rate'; readonly session: number; readonly rate: SessionRate }
  /** What a session may reach, from now on; `undefined`: whatever any session may. `install-session` says it from the start. */
  | {
      readonly type: 'set-permissions'
      readonly session: number
      readonly permissions: readonly PlanePermission[] | undefined
    }
  /** For the ingress guard, from now on. */
  | { readonly type: 'set-destinations'; readonly destinations: DestinationPolicy }
  /**
   * A handshake that names this App-ID, and proves this key, opens the session's datagram channel. It takes the place of
   * the session's App-ID before.
   */
  | {
      readonly type: 'permit'
      readonly session: number
      readonly appId: Uint8Array
      readonly key: Uint8Array
    }
  /** No handshake opens the session's datagram channel any more; what is open stays. */
  | { readonly type: 'forbid'; readonly session: number }
  /**
   * Goes on with an association of a data plane that is gone, with sequence numbers from the memory that both share. What
   * can't go on is told as `association-closed`.
   */
  | {
      readonly type: 'install-association'
      readonly session: number
      readonly snapshot: AssociationSnapshot
      /** Where its peer is. */
      readonly address: string
      readonly port: number
    }
  /** Ends the session's association, if it is still this one. The client is told. */
  | { readonly type: 'close-association'; readonly session: number; readonly association: number }
  /** A control frame for the session's datagram channel. */
  | {
      readonly type: 'send-control-frame'
      readonly session: number
      readonly frameType: FrameType
      readonly payload: Uint8Array
    }
  /** The address (4 or 16 bytes) is nobody's any more: the translator forgets its flows. */
  | { readonly type: 'remove-inside'; readonly address: Uint8Array }
  /** No new associations from here on; what is open stays. */
  | { readonly type: 'drain' }
