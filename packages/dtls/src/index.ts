// DTLS 1.2 with pre-shared keys, as machines. Their shells over sockets are in @twinbore/dtls/io.
export { DtlsAssociation } from './association.ts'
export type { AssociationSnapshot } from './association-snapshot.ts'
export { type RecordBatch, SEAL_HEADROOM, SEAL_TAILROOM, Verdict } from './batch.ts'
export { type CounterName, counterNames, type DtlsStats } from './counters.ts'
export { type CipherSuite, type CipherSuiteName, cipherSuites } from './crypto/cipher-suites.ts'
export type {
  AeadKey,
  AeadName,
  CryptoProvider,
  HashName,
  RecordCipher,
  RecordCipherMaker,
} from './crypto/crypto-provider.ts'
export { DtlsError, type DtlsErrorCode } from './errors.ts'
export type { AssociationOutput, CloseReason, Negotiated, ServerOutput } from './events.ts'
export { InvariantError, type Machine, type Milliseconds, type Random } from './machine.ts'
export {
  type CookiePolicy,
  type DtlsClientOptions,
  type DtlsOptions,
  type DtlsPeerServerOptions,
  type DtlsServerOptions,
  defaultDtlsOptions,
  defaultDtlsServerOptions,
  type FindPsk,
  type PreSharedKey,
} from './options.ts'
export { DtlsServer } from './server/dtls-server.ts'
