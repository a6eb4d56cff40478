"""NVIDIA's libraries, in front of our own kernels: each operator goes to a library where one has it and is switched on.

found.py      which library is here, in which version, and what is wrong with it
selection.py  for each operation: a library, else our own kernel; with the reason
kernel.py     a kernel that runs a library's plan, and our own where the library has none for a shape
cublas.py     products as cuBLASLt plans; matrices.py: how operands lie; products.py: MatMul, Gemm and their fused forms
convolution_products.py  convolutions as products
attention.py  operators of attention with a library for our kernel: attention_products.py: two products; fused_attention.py: a cuDNN graph
recurrent.py  RNN, GRU and LSTM, whose products are its plans
graphs.py     plans of cuDNN graphs; plan_search.py: which; convolution_graphs.py, attention_graphs.py: what they consist of;
              convolutions.py: Conv and its kin
"""
