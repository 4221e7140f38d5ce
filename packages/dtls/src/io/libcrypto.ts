// OpenSSL's libcrypto, called directly. This is the only file of the package that knows the FFI package. Pointers are declared as
// integers and given as addresses of byte arrays, so that nothing is marshalled.
import { createRequire } from 'node:module'
import type { LibraryHandle } from 'koffi'

/** Functions of OpenSSL 3 by their C names; pointers are addresses. See EVP_EncryptInit(3). */
export interface Libcrypto {
  /** Where the functions were found. */
  readonly origin: 'node' | 'libcrypto.so.3'
  contextNew(): number
  contextFree(context: number): void
  cipherInit(context: number, cipher: number, engine: 0, key: number, iv: number, encrypts: 0 | 1 | -1): number
  control(context: number, command: number, size: number, pointer: number): number
  setParams(context: number, params: number): number
  cipher(context: number, output: number, input: number, length: number): number
  cipherUpdate(context: number, output: number, outputLength: number, input: number, length: number): number
  cipherFinal(context: number, output: number, outputLength: number): number
  clearErrors(): void
  /** The cipher of a name such as `AES-128-GCM`; 0 if there is none. It lives as long as the process. */
  cipherOf(name: string): number
  /** Where the bytes of a buffer are. They never move while the buffer is referenced and not transferred. */
  addressOf(buffer: ArrayBuffer): number
}

type Ffi = typeof import('koffi')

/**
 * The libcrypto inside the node executable, or the system's if that one has no symbols.
 * @throws Error saying what is missing: the FFI package, a build of it for this system, or a function
 */
export function loadLibcrypto(): Libcrypto {
  // Integers are passed in registers whole; addresses of 64-bit Linux and macOS are below 2^47. 32-bit systems are left out.
  if (!['x64', 'arm64'].includes(process.arch)) throw new Error(`not on ${process.arch}`)
  const ffi = createRequire(import.meta.url)('koffi') as Ffi
  try {
    return bind(ffi, ffi.load(null), 'node')
  } catch {
    return bind(ffi, ffi.load('libcrypto.so.3'), 'libcrypto.so.3')
  }
}

function bind(ffi: Ffi, library: LibraryHandle, origin: Libcrypto['origin']): Libcrypto {
  const address = 'int64_t'
  const contextNew = library.func('EVP_CIPHER_CTX_new', address, [])
  const fetch = library.func('EVP_CIPHER_fetch', address, [address, 'str', address])
  return {
    origin,
    contextNew: () => Number(contextNew()),
    contextFree: library.func('EVP_CIPHER_CTX_free', 'void', [address]),
    cipherInit: library.func('EVP_CipherInit_ex', 'int', [address, address, address, address, address, 'int']),
    control: library.func('EVP_CIPHER_CTX_ctrl', 'int', [address, 'int', 'int', address]),
    setParams: library.func('EVP_CIPHER_CTX_set_params', 'int', [address, address]),
    cipher: library.func('EVP_Cipher', 'int', [address, address, address, 'uint32_t']),
    cipherUpdate: library.func('EVP_CipherUpdate', 'int', [address, address, address, address, 'int']),
    cipherFinal: library.func('EVP_CipherFinal_ex', 'int', [address, address, address]),
    clearErrors: library.func('ERR_clear_error', 'void', []),
    cipherOf: name => Number(fetch(0, name, 0)),
    addressOf: buffer => Number(ffi.address(buffer)),
  }
}
