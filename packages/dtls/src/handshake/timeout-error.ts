import { DtlsError, type DtlsErrorCode } from '../errors.ts'
import type { Handshake } from './handshake.ts'

/** Why a handshake did not complete in time, as far as one can tell. `sawForgedFinished`: a protected record did not authenticate. */
export function timeoutError({ awaitsFinished, hasKeys }: Handshake, sawForgedFinished: boolean): DtlsError {
  let code: DtlsErrorCode = 'ERR_DTLS_HANDSHAKE_TIMEOUT'
  let message = 'the handshake did not complete in time'
  if (sawForgedFinished && awaitsFinished) {
    code = 'ERR_DTLS_PSK_MISMATCH'
    message = 'the Finished of the peer never authenticated: the pre-shared keys differ'
  } else if (hasKeys) message += '; keys were made but the peer never used them: they may differ'
  return new DtlsError(code, message)
}
