// The hands of dtls.
export { nodeCrypto, nodeRandom } from './node-crypto.ts'
