/** Encodes an array in NumPy's .npy format, version 1.0; the shape defaults to one dimension. */
export function arrayToNpy(array: Float32Array | Float64Array, shape = [array.length]): Uint8Array {
  if (shape.reduce((a, b) => a * b, 1) !== array.length)
    throw new Error(`invalid shape: (${shape.join(", ")}) of ${array.length} numbers`);
  const descr = array instanceof Float32Array ? "<f4" : "<f8";
  const size = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${size}), }`;
  // NumPy maps files into memory: after spaces and a newline, numbers start at a multiple of 64.
  const start = Math.ceil((10 + header.length + 1) / 64) * 64;
  const npy = Buffer.alloc(start + array.byteLength, " ");
  npy.write("\x93NUMPY\x01\x00", 0, "latin1");
  npy.writeUInt16LE(start - 10, 8);
  npy.write(header, 10, "latin1");
  npy.write("\n", start - 1, "latin1");
  npy.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), start);
  return npy;
}
