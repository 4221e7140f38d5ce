/** What the demonstration tells the process that is its intranet. */
export type IntranetOrder =
  /** The link is there: take the address, count packets that carry an address of `pool`, open the store. */
  | {
      readonly type: 'open'
      readonly device: string
      readonly address: string
      readonly prefixLength: number
      readonly pool: string
    }
  | { readonly type: 'count' }

/** What the intranet answers. */
export type IntranetReport =
  /** In its network namespace, which has no link yet. */
  | { readonly type: 'waiting' }
  | { readonly type: 'open'; readonly port: number }
  | ({ readonly type: 'counted' } & IntranetCounts)
  | { readonly type: 'failed'; readonly message: string }

/** What the kernel of the intranet's namespace counted. */
export interface IntranetCounts {
  /** IPv4 packets that arrived. */
  readonly packets: number
  /** Those of them with an address of the pool as source or destination. */
  readonly packetsWithPoolAddress: number
}
