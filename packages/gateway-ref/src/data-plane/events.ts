import type { DatagramLoss, FrameType } from '@twinbore/core'
import type { AssociationSnapshot, DtlsErrorCode } from '@twinbore/dtls'
import type { PatOutput } from '@twinbore/pat'
import type { ActivityTable } from './activity.ts'

/**
 * What a data plane tells its control plane: plain values, as for `PlaneCommand`. They are in order, and all that is said of
 * a session lies between its installation and `session-removed`.
 */
export type PlaneEvent =
  /** Nothing follows about this session; its number is free. */
  | { readonly type: 'session-removed'; readonly session: number }
  /** A handshake is complete; the association takes the place of the session's one before. */
  | {
      readonly type: 'association-established'
      readonly session: number
      readonly association: number
      /** What a record adds to its plaintext, in bytes. */
      readonly overhead: number
      /** The longest plaintext that the peer takes. */
      readonly maxPlaintextBytes: number
      /** Where the peer is. */
      readonly address: string
      readonly port: number
      /** For a successor of this data plane; only where there may be one. It holds the traffic keys. */
      readonly snapshot?: AssociationSnapshot
    }
  /** The session's association is gone, and not for a newer one. */
  | {
      readonly type: 'association-closed'
      readonly session: number
      readonly association: number
      readonly loss: DatagramLoss
    }
  /** The client is heard from another address; answers go there. */
  | {
      readonly type: 'association-moved'
      readonly session: number
      readonly association: number
      readonly from: string
      readonly to: string
      readonly port: number
    }
  /** Its keys have protected so much that a new association should follow. */
  | { readonly type: 'key-limit-near'; readonly session: number; readonly association: number }
  /** A handshake from `remote` came to nothing. */
  | { readonly type: 'handshake-failed'; readonly remote: string; readonly code: DtlsErrorCode }
  /** A control frame came through the session's datagram channel. */
  | {
      readonly type: 'control-frame'
      readonly session: number
      readonly frameType: FrameType
      readonly payload: Uint8Array
    }
  /** The system refused a record with so many bytes of plaintext as too long for its path. */
  | { readonly type: 'datagram-too-big'; readonly session: number; readonly payloadBytes: number }
  /** What passed since the last one. */
  | { readonly type: 'activity'; readonly table: ActivityTable }
  /** What the translator tells besides packets. */
  | { readonly type: 'translator'; readonly output: Exclude<PatOutput, { readonly type: 'packet' }> }
