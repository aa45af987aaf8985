import CRabbitMQ

/// Memory for the C values of one outgoing method, given back all at once after the call.
final class Arena {
    private let pool: UnsafeMutablePointer<amqp_pool_t>

    init() {
        pool = .allocate(capacity: 1)
        pool.initialize(to: amqp_pool_t())
        init_amqp_pool(pool, 16_384)
    }

    deinit {
        empty_amqp_pool(pool)
        pool.deallocate()
    }

    /// Takes back everything handed out since the last reset.
    func reset() {
        recycle_amqp_pool(pool)
    }

    /// A copy of the text, valid until `reset`.
    func bytes(_ text: String) -> amqp_bytes_t {
        var text = text
        return text.withUTF8 { copy(UnsafeRawBufferPointer($0)) }
    }

    /// A copy of the fields, valid until `reset`.
    func table(_ fields: [String: FieldValue]) -> amqp_table_t {
        guard !fields.isEmpty else { return amqp_table_t() }
        let entries = allocate(fields.count, of: amqp_table_entry_t.self)
        for (index, (name, value)) in fields.enumerated() {
            (entries + index).initialize(to: amqp_table_entry_t(key: bytes(name), value: field(value)))
        }
        return amqp_table_t(num_entries: Int32(fields.count), entries: entries)
    }

    private func field(_ value: FieldValue) -> amqp_field_value_t {
        var field = amqp_field_value_t()
        switch value {
        case .string(let text), .unknown(let text):
            field.set(AMQP_FIELD_KIND_UTF8) { $0.bytes = bytes(text) }
        case .int(let number):
            field.set(AMQP_FIELD_KIND_I64) { $0.i64 = number }
        case .double(let number):
            field.set(AMQP_FIELD_KIND_F64) { $0.f64 = number }
        case .bool(let isTrue):
            field.set(AMQP_FIELD_KIND_BOOLEAN) { $0.boolean = isTrue ? 1 : 0 }
        case .timestamp(let seconds):
            field.set(AMQP_FIELD_KIND_TIMESTAMP) { $0.u64 = UInt64(clamping: seconds) }
        case .bytes(let data):
            field.set(AMQP_FIELD_KIND_BYTES) { $0.bytes = data.withUnsafeBytes { copy($0) } }
        case .table(let fields):
            field.set(AMQP_FIELD_KIND_TABLE) { $0.table = table(fields) }
        case .array(let values):
            let entries = allocate(max(values.count, 1), of: amqp_field_value_t.self)
            for (index, value) in values.enumerated() { (entries + index).initialize(to: self.field(value)) }
            field.set(AMQP_FIELD_KIND_ARRAY) {
                $0.array = amqp_array_t(num_entries: Int32(values.count), entries: entries)
            }
        case .null:
            field.kind = UInt8(AMQP_FIELD_KIND_VOID.rawValue)
        }
        return field
    }

    private func copy(_ source: UnsafeRawBufferPointer) -> amqp_bytes_t {
        guard let start = source.baseAddress, !source.isEmpty else { return amqp_bytes_t() }
        let target = allocate(source.count, of: UInt8.self)
        UnsafeMutableRawPointer(target).copyMemory(from: start, byteCount: source.count)
        return amqp_bytes_t(len: source.count, bytes: target)
    }

    private func allocate<Element>(_ count: Int, of type: Element.Type) -> UnsafeMutablePointer<Element> {
        guard let memory = amqp_pool_alloc(pool, count * MemoryLayout<Element>.stride) else {
            fatalError("out of memory")
        }
        return memory.bindMemory(to: type, capacity: count)
    }
}

extension amqp_field_value_t {
    fileprivate mutating func set(
        _ kind: amqp_field_value_kind_t, _ assign: (inout amqp_field_value_t.__Unnamed_union_value) -> Void
    ) {
        self.kind = UInt8(kind.rawValue)
        assign(&value)
    }
}

extension String {
    /// A copy of bytes the library lent us; bytes that are no UTF-8 are repaired, never refused.
    init(_ bytes: amqp_bytes_t) {
        self.init(decoding: UnsafeRawBufferPointer(start: bytes.bytes, count: bytes.len), as: UTF8.self)
    }
}

extension [UInt8] {
    /// A copy of bytes the library lent us.
    init(_ bytes: amqp_bytes_t) {
        self.init(UnsafeRawBufferPointer(start: bytes.bytes, count: bytes.len))
    }
}

extension [String: FieldValue] {
    /// A copy of a table the library lent us; of two entries with one name the later one stays.
    init(_ table: amqp_table_t) {
        self.init()
        guard let entries = table.entries else { return }
        for entry in UnsafeBufferPointer(start: entries, count: Int(table.num_entries)) {
            self[String(entry.key)] = FieldValue(entry.value)
        }
    }
}

extension FieldValue {
    /// A copy of a value the library lent us.
    init(_ field: amqp_field_value_t) {
        let value = field.value
        switch amqp_field_value_kind_t(UInt32(field.kind)) {
        case AMQP_FIELD_KIND_UTF8: self = .string(String(value.bytes))
        case AMQP_FIELD_KIND_BOOLEAN: self = .bool(value.boolean != 0)
        case AMQP_FIELD_KIND_I8: self = .int(Int64(value.i8))
        case AMQP_FIELD_KIND_U8: self = .int(Int64(value.u8))
        case AMQP_FIELD_KIND_I16: self = .int(Int64(value.i16))
        case AMQP_FIELD_KIND_U16: self = .int(Int64(value.u16))
        case AMQP_FIELD_KIND_I32: self = .int(Int64(value.i32))
        case AMQP_FIELD_KIND_U32: self = .int(Int64(value.u32))
        case AMQP_FIELD_KIND_I64: self = .int(value.i64)
        case AMQP_FIELD_KIND_U64:
            self = Int64(exactly: value.u64).map { .int($0) } ?? .unknown("unsigned number \(value.u64)")
        case AMQP_FIELD_KIND_F32: self = .double(Double(value.f32))
        case AMQP_FIELD_KIND_F64: self = .double(value.f64)
        case AMQP_FIELD_KIND_TIMESTAMP: self = .timestamp(Int64(clamping: value.u64))
        case AMQP_FIELD_KIND_BYTES: self = .bytes([UInt8](value.bytes))
        case AMQP_FIELD_KIND_TABLE: self = .table([String: FieldValue](value.table))
        case AMQP_FIELD_KIND_ARRAY:
            let entries = UnsafeBufferPointer(start: value.array.entries, count: Int(value.array.num_entries))
            self = .array(entries.map { FieldValue($0) })
        case AMQP_FIELD_KIND_VOID: self = .null
        case AMQP_FIELD_KIND_DECIMAL:
            self = .unknown("decimal \(value.decimal.value)e-\(value.decimal.decimals)")
        default: self = .unknown("field of kind \(field.kind)")
        }
    }
}
