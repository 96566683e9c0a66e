# cmake -DINPUT=FILE -DOUTPUT=STEM -DNAME=NAME -P saga_embed.cmake: writes STEM.c and STEM.h with FILE's bytes as the array NAME.
file(READ "${INPUT}" hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR size "${digits} / 2")
# Twenty bytes a line.
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REPEAT "0x..," 20 line)
string(REGEX REPLACE "(${line})" "\\1\n" bytes "${bytes}")
file(WRITE "${OUTPUT}.h" "/* Made from a descriptor set; do not edit. */\n#pragma once\n\n/* The FileDescriptorSet. */\nextern const unsigned char ${NAME}[${size}];\n")
file(WRITE "${OUTPUT}.c" "/* Made from a descriptor set; do not edit. */\n#include \"${NAME}.h\"\n\nconst unsigned char ${NAME}[${size}] = {\n${bytes}\n};\n")
